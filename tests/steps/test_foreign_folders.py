"""Folders of others are not replaced by results; those of earlier runs are."""

from __future__ import annotations

import numpy as np
import pytest

import calibrant
from calibrant.errors import OutputError
from calibrant.steps.foreign_folders import refuse_foreign_folders
from command_line import run, tree
from graphs import graph_def, numbers, save, small_network, tf

DATA = numbers(8, 6, 6, 2)


@pytest.fixture
def folder(tmp_path):
    """Where a model lies, and its data."""
    save(graph_def(small_network), tmp_path / "net.pb")
    np.save(tmp_path / "x.npy", DATA)
    return tmp_path


def quantized(folder, *options):
    given = ("--data", folder / "x.npy", "--out", folder, "--no-refine", "--export", "saved_model")
    return run("quantize", folder / "net.pb", *given, *options)


class Trained(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32)])
    def serve(self, x):
        return {"y": x @ tf.ones((3, 2))}


def test_a_trained_model_of_that_name(folder):
    trained = Trained()
    tf.saved_model.save(trained, str(folder / "net_saved_model"), signatures=trained.serve)
    before = tree(folder)
    done = quantized(folder)
    assert done.code == 2
    assert "net_saved_model: is a folder that calibrant did not make, and would be replaced" in done.err
    assert "--name" in done.err
    assert tree(folder) == before
    assert quantized(folder, "--name", "other").code == 0
    assert before.items() <= tree(folder).items()


def test_a_model_of_tensorflow_in_the_shape_of_calibrants(folder):
    """Without variables, assets and fingerprint."""
    builder = tf.compat.v1.saved_model.Builder(str(folder / "net_saved_model"))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.constant(1.0)
        builder.add_meta_graph_and_variables(session, ["serve"])
        builder.save()
    (folder / "net_saved_model" / "fingerprint.pb").unlink(missing_ok=True)
    (folder / "net_saved_model" / "variables").mkdir(exist_ok=True)
    with pytest.raises(OutputError, match="did not make"):
        refuse_foreign_folders([folder / "net_saved_model"])


def test_own_results_are_replaced(folder):
    for _ in range(2):
        assert quantized(folder).code == 0
    (folder / "net_saved_model" / "assets").mkdir()
    assert quantized(folder).code == 2


@pytest.mark.parametrize("name", ["record.txt", "report.json", "net_fakequant.pb"])
def test_folders_where_files_are_written(name, folder):
    (folder / name).mkdir()
    (folder / name / "mine").write_bytes(b"mine")
    before = tree(folder)
    assert quantized(folder).code == 2
    assert tree(folder) == before


def test_a_folder_that_appears_during_the_run(folder):
    def track(items, description, total):
        (folder / "record.txt").mkdir(exist_ok=True)
        (folder / "record.txt" / "mine").write_bytes(b"mine")
        return items

    with pytest.raises(OutputError, match="record.txt: is a folder that calibrant did not make"):
        calibrant.quantize(folder / "net.pb", None, DATA, folder, track=track)
    assert sorted(path.name for path in folder.iterdir()) == ["net.pb", "record.txt", "x.npy"]


def test_what_is_not_in_the_way(folder):
    (folder / "empty").mkdir()
    (folder / "net_fakequant").mkdir()
    (folder / "net_fakequant" / "mine").write_bytes(b"mine")
    refuse_foreign_folders(folder / name for name in ("empty", "absent", "net.pb"))
    assert quantized(folder).code == 0
    assert (folder / "net_fakequant" / "mine").is_file()

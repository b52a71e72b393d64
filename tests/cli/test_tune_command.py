"""``calibrant tune`` as it is typed."""

import json

import numpy as np
import pytest

from calibrant.cli.main import main
from calibrant.config import load_config
from graphs import graph_def, numbers, placeholder, save, tf

ROUGH = "batch_num : 2  common_config { ifmr_quantize { max_percentile : 0.9 min_percentile : 0.9 } }"


def run(*arguments):
    with pytest.raises(SystemExit) as done:
        main([str(argument) for argument in arguments])
        raise SystemExit(0)
    return done.value.code


@pytest.fixture
def command(repository, tmp_path):
    rough = tmp_path / "rough.cfg"
    rough.write_text(ROUGH)
    folder = repository / "examples/digits"
    test, labels = f"{folder}/test.npz:x[:100]", f"{folder}/test.npz:y[:100]"
    calibration = folder / "calibration.npz"
    return (
        "tune",
        folder / "digits.pb",
        "--config",
        rough,
        "--data",
        calibration,
        "--test-data",
        test,
        "--labels",
        labels,
    )


def test_writes_a_file_and_a_table(command, tmp_path, capsys):
    out = tmp_path / "new" / "tuned.cfg"
    assert run(*command, "--tolerance", "2", "--out", out) == 0
    said = capsys.readouterr().out
    assert "as given" in said and f"{out} meets the tolerance of 2 points" in said
    assert load_config(out).batch_num == 2
    assert [path.name for path in out.parent.iterdir()] == ["tuned.cfg"]


def test_the_loss_is_a_share_and_in_points(command, tmp_path, capsys):
    assert run(*command, "--tolerance", "60", "--no-repair", "--out", tmp_path / "t.cfg", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    for measured in (found, *found["tried"]):
        assert measured["loss_points"] == pytest.approx(100 * measured["loss"])


def test_a_tolerance_that_cannot_be_met_is_exit_code_1(command, tmp_path, capsys):
    settings = ("--no-repair", "--no-float-layers", "--tolerance", "0")
    assert run(*command, *settings, "--out", tmp_path / "tuned.cfg") == 1
    assert "misses the tolerance" in capsys.readouterr().out


def test_a_folder_is_no_configuration_file(command, tmp_path, capsys):
    assert run(*command, "--out", tmp_path) == 2
    assert "is a folder" in capsys.readouterr().err


def test_equal_integers_have_a_loss_and_no_ratio(tmp_path, capsys):
    def build():
        tf.cast(tf.round(5 * tf.matmul(placeholder([None, 4]), tf.constant(numbers(4, 3)))), tf.int32, name="out")

    np.save(tmp_path / "data.npy", numbers(64, 4, seed=1))
    model, out = save(graph_def(build), tmp_path / "model.pb"), tmp_path / "tuned.cfg"
    run("tune", model, "--data", tmp_path / "data.npy", "--out", out, "--no-repair", "--no-float-layers")
    said = capsys.readouterr().out
    assert "points" in said and "inf" not in said and "inf" not in out.read_text()

"""Labels from class folders, and the order of images that have labels beside them."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from PIL import Image

import calibrant
from calibrant.data.options import DataOptions
from calibrant.errors import DataError
from calibrant.evaluation.labels import load_labels
from calibrant.evaluation.trials import Trials, TrialSetup
from calibrant.evaluation.verify import verify
from calibrant.graph.reading.load import load
from command_line import run
from graphs import graph_def, placeholder, save, tf

CLASSES = ("cat", "dog", "fox")


def brightest_channel():
    means = tf.reduce_mean(placeholder([None, 4, 4, 3]), [1, 2])
    tf.matmul(means, tf.constant(np.eye(3, dtype=np.float32)), name="out")


@pytest.fixture
def folder(tmp_path):
    """Images of three classes; the brightest channel is the class."""
    for name, count in {"dog": 4, "cat": 3, "fox": 5}.items():
        (tmp_path / "images" / name).mkdir(parents=True)
        for picture in range(count):
            pixels = np.zeros((4, 4, 3), np.uint8)
            pixels[..., CLASSES.index(name)] = 200 + picture
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{picture}.png")
    return tmp_path / "images"


def test_the_classes_are_the_sorted_sub_folders(folder, caplog):
    with caplog.at_level(logging.INFO, "calibrant"):
        assert load_labels(folder).tolist() == [0] * 3 + [1] * 4 + [2] * 5
    assert "0 cat, 1 dog, 2 fox" in caplog.text


def test_a_class_without_images_counts_and_images_may_lie_deeper(folder):
    (folder / "cow").mkdir()
    (folder / ".hidden").mkdir()
    (folder / "cat" / "0.png").rename(folder / "cow" / "0.txt")
    (folder / "fox" / "red").mkdir()
    (folder / "fox" / "0.png").rename(folder / "fox" / "red" / "0.png")
    assert load_labels(folder).tolist() == [0] * 2 + [2] * 4 + [3] * 5


def test_they_fit_the_images_of_the_folder(folder):
    (score,) = calibrant.evaluate(graph_def(brightest_channel), folder, folder)
    assert score.top1 == 1.0 and score.samples == 12


def test_folders_that_are_no_class_folders(folder):
    (folder / "cat" / "0.png").rename(folder / "0.png")
    with pytest.raises(DataError, match=r"image '0\.png' is in no class folder(.|\n)*a class number a line"):
        load_labels(folder)
    (folder / "none").mkdir()
    with pytest.raises(DataError, match="no image is in a class folder"):
        load_labels(folder / "none")
    with pytest.raises(DataError, match="this is a folder"):
        load_labels(f"{folder}[:3]")


def test_shuffled_images_have_no_labels_beside_them(folder, tmp_path):
    model = save(graph_def(brightest_channel), tmp_path / "model.pb")
    labels = np.repeat([0, 1, 2], [3, 4, 5])
    for call in (
        lambda: calibrant.evaluate(model, folder, labels, shuffle=3),
        lambda: verify(tmp_path, folder, labels, shuffle=3),
    ):
        with pytest.raises(DataError, match="shuffle changes the order"):
            call()
    found = run("evaluate", model, "--data", folder, "--labels", folder, "--shuffle", "3")
    assert found.code == 2 and "leave out --shuffle" in found.err
    assert calibrant.evaluate([model, model], folder, shuffle=3)[1].agreement == 1.0


def test_tuning_reads_shuffled_test_data_in_order(folder):
    model = load(graph_def(brightest_channel))
    plain, shuffled = (
        Trials(TrialSetup(model, folder, folder, data_options=DataOptions(shuffle=seed)))._outputs(model)[0]
        for seed in (None, 3)
    )
    np.testing.assert_array_equal(np.concatenate(shuffled), np.concatenate(plain))

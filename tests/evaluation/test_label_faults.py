"""Labels that do not belong to the model, and what is advised about them."""

from __future__ import annotations

import numpy as np
import pytest

import calibrant
from calibrant.errors import DataError
from calibrant.evaluation.label_count import MOST_CLASSES, LabelCount
from calibrant.evaluation.target_error import TargetError
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import dense, graph_def, numbers, placeholder, tf

DATA = numbers(32, 4)
ROUND = np.arange(32) % 5


def network(end=tf.identity):
    return graph_def(lambda: tf.identity(end(dense(placeholder([None, 4], "x"), 5)), name="out"))


BEST = network(lambda scores: tf.argmax(scores, 1))


@pytest.mark.parametrize("columns", [2, 4, 7])
def test_one_hot_labels_of_another_width(columns):
    labels = np.eye(columns, dtype=int)[np.arange(32) % 2]
    message = rf"labels: one-hot labels of {columns} columns for a model with 5 classes(.|\n)*allowed: 5 columns"
    for run in (
        lambda: calibrant.evaluate([network()], DATA, labels),
        lambda: calibrant.evaluate([network()], DATA, {"out": labels}),
        lambda: calibrant.tune(network(), data=DATA, labels=labels, tolerance=0.5),
    ):
        with pytest.raises(DataError, match=message):
            run()


def test_verify_knows_the_width_too(tmp_path):
    calibrant.quantize(network(), data=DATA, out=tmp_path / "out")
    with pytest.raises(DataError, match="one-hot labels of 7 columns for a model with 5 classes"):
        calibrant.verify(tmp_path / "out", DATA, np.eye(7, dtype=int)[ROUND], model=network())


@pytest.mark.parametrize(
    ("columns", "options"),
    [(5, {}), (4, {"label_offset": 1}), (6, {"label_offset": -1}), (6, {"ignore_labels": [5]})],
)
def test_one_hot_labels_that_fit(columns, options):
    labels = np.eye(columns, dtype=int)[1 + np.arange(32) % 3]
    assert calibrant.evaluate([network()], DATA, labels, **options)[0].top1 is not None


@pytest.mark.parametrize("shape", [(1, 5), (3, 3)])
@pytest.mark.parametrize("model", [network(), BEST], ids=["scores", "classes"])
def test_maps_for_a_classifier(model, shape):
    with pytest.raises(DataError, match=rf"labels of shape \[N, {shape[0]}, {shape[1]}\]"):
        calibrant.evaluate([model], DATA, np.zeros((32, *shape), int))


@pytest.mark.parametrize("label", [MOST_CLASSES, 2**31 - 1])
def test_a_label_that_is_no_class_number(label):
    labels = np.r_[ROUND[:-1], label]
    with pytest.raises(DataError, match=f"label {label} is no class number(.|\n)*--ignore-label {label}"):
        calibrant.evaluate([BEST], DATA, labels)
    assert calibrant.evaluate([BEST], DATA, labels, ignore_labels=[label])[0].samples == 31
    with pytest.raises(DataError, match="an offset of 2000000000 for the labels"):
        calibrant.evaluate([BEST], DATA, ROUND, label_offset=2_000_000_000)


def test_class_numbers_of_a_model_that_no_label_can_be():
    count = LabelCount()
    count.update(np.array([[0, 1], [-1, 2**40]]), np.array([[0, 1], [1, 1]]))
    assert (count.top1, count.mean_iou) == (0.5, pytest.approx((1 + 1 / 3) / 2))


@pytest.mark.parametrize(
    ("labels", "offset", "advised"),
    [
        ([1, 5], 0, "--label-offset -1 "),
        ([0, 5], 0, None),
        ([2, 4], 1, "without --label-offset"),
        ([-1, 3], 0, "--label-offset 1 "),
        ([1, 7], 0, None),
        ([3, 6], 1, None),
        ([3, 5], 1, "--label-offset -1 "),
        ([0, 4], -1, "without --label-offset"),
    ],
)
@pytest.mark.parametrize("size", [1, 16])
def test_an_offset_is_advised_only_where_it_works(labels, offset, advised, size):
    """For all labels, in whichever batch they are."""
    given = np.resize(labels, 32)
    with pytest.raises(DataError, match="is no class") as caught:
        calibrant.evaluate([network()], DATA, given, label_offset=offset, batch_size=size)
    hint = str(caught.value).split("hint: ")[1]
    assert (advised or "--label-offset") in hint if advised else "--label-offset" not in hint
    wrong = next(int(label) for label in labels if not 0 <= label + offset < 5)
    assert f"--ignore-label {wrong} " in hint
    if advised:
        better = 0 if "without" in advised else int(advised.split()[-1])
        assert calibrant.evaluate([network()], DATA, given, label_offset=better)[0].samples == 32


@pytest.mark.parametrize(("labels", "advised"), [(np.arange(20) % 4, 1), (np.arange(20) % 5, None)])
def test_an_offset_that_seems_to_be_missing(labels, advised):
    """Predictions are one above the labels; but the label 4 would be no class of five."""
    count = LabelCount()
    count.update(np.eye(5)[np.minimum(labels + 1, 4)], labels)
    assert count.offset_hint == advised


def doubt(predictions, labels, **options):
    count = LabelCount(**options)
    count.update(np.eye(10)[predictions], np.asarray(labels))
    return count.doubt


def test_labels_of_other_samples_are_doubted():
    labels = np.random.default_rng(0).integers(10, size=400)
    given = np.roll(labels, 7)
    right, most = 100 * np.mean(labels == given), np.bincount(given).argmax()
    assert doubt(labels, given) == (
        f"right for {right:.1f} % of the samples, where always answering {most} would be for "
        f"{100 * np.mean(given == most):.1f} %: are these the labels of these samples, in this order?"
    )


def test_labels_that_are_right_often_enough_are_not():
    labels = np.random.default_rng(0).integers(10, size=400)
    half = np.where(np.arange(400) % 2, labels, 0)
    assert doubt(half, labels) is None
    assert doubt(np.full(400, np.bincount(labels).argmax()), labels) is None  # always one answer
    assert doubt(labels[:15], np.roll(labels, 7)[:15]) is None  # too few to tell
    rare = (np.arange(400) % 20 == 0).astype(int)
    assert doubt(np.roll(rare, 1), rare) is None  # as good as guessing, and 90 % right


def test_the_class_that_a_guess_would_be_is_named_as_it_was_given():
    labels = np.random.default_rng(0).integers(1, 10, size=400)
    labels[:100] = 3
    assert "always answering 2 would" in doubt(np.roll(labels, 7), labels, offset=1)


@pytest.mark.parametrize("run", ["evaluate", "tune"])
def test_doubts_are_told(run, caplog):
    outputs = run_once(load(network()), {"x": DATA})[0]
    others = np.roll(np.argmax(outputs.reshape(len(DATA), -1), 1), 5)
    with caplog.at_level("WARNING"):
        if run == "evaluate":
            calibrant.evaluate([network()], DATA, others)
        else:
            calibrant.tune(network(), data=DATA, labels=others, tolerance=0.5)
    assert "are these the labels of these samples" in caplog.text


@pytest.mark.parametrize("labels", [[[1], [1, 2]], [10**400] * 32])
def test_labels_that_are_no_array(labels):
    with pytest.raises(DataError, match="labels"):
        calibrant.evaluate([network()], DATA, labels)


def test_targets_with_their_axes_in_another_order():
    outputs = numbers(6, 8, 8, 4)
    for targets in (outputs, outputs.reshape(6, 256), outputs[:, None]):
        error = TargetError()
        error.update(outputs, targets)
        assert error.mae == 0
    for targets in (outputs.transpose(0, 3, 1, 2), outputs.reshape(6, 4, 8, 8)):
        with pytest.raises(DataError, match=r"labels of shape \[4, 8, 8\] a sample, the model gives \[8, 8, 4\]"):
            TargetError().update(outputs, targets)

"""What labels mean beside an output, case by case."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant.errors import DataError
from calibrant.evaluation.given_labels import GivenLabels
from calibrant.evaluation.label_meaning import LabelMeaning, Meaning, shifted
from calibrant.evaluation.labels import as_labels

RANDOM = np.random.default_rng(0)
HOT = np.eye(5, dtype=int)
ROWS = np.array([[0, 1, 1, 0, 0], [0, 0, 0, 0, 0], [1, 0, 0, 0, 1]])
STEPS = RANDOM.integers(0, 5, (3, 4))
MAPS = RANDOM.integers(0, 2, (3, 6, 7))
VOLUMES = RANDOM.integers(0, 2, (3, 2, 6, 7))


def meaning_of(labels, shape, dtype=np.float32, **given):
    """The kind of labels for an output of a shape [N, ...], and what they mean."""
    meaning = LabelMeaning(**given)
    labels = GivenLabels(as_labels(np.asarray(labels), "y.npy"), "y.npy")
    return meaning.decide(labels, np.zeros((3, *shape), dtype)), meaning.meant(labels)


@pytest.mark.parametrize(
    ("labels", "shape", "kind"),
    [
        ([0, 2, 1], (5,), Meaning.CLASSES),
        ([0, 1, 1], (1,), Meaning.CLASSES),
        ([30, 41, 7], (1,), Meaning.NUMBERS),
        ([0.5, 1, 2], (5,), Meaning.NUMBERS),
        (HOT[:3], (5,), Meaning.ROWS),
        (HOT[:3].astype(float), (1, 1, 5), Meaning.ROWS),
        (ROWS, (5,), Meaning.ROWS),
        (ROWS > 0, (5, 1, 1), Meaning.ROWS),
        (HOT[:3, :2] * 0 + [0, 1], (1,), Meaning.ONE_HOT),
        (ROWS * 2.0, (5,), Meaning.NUMBERS),
        (STEPS, (4, 5), Meaning.CLASSES),
        (STEPS.astype(float), (4, 5), Meaning.CLASSES),
        (STEPS[..., np.newaxis], (4, 5), Meaning.CLASSES),
        (HOT[STEPS], (4, 5), Meaning.ONE_HOT),
        (HOT[STEPS] * 2, (4, 5), Meaning.NUMBERS),
        (ROWS, (5, 1), Meaning.BINARY),
        (MAPS, (6, 7, 1), Meaning.BINARY),
        (MAPS[..., np.newaxis] > 0, (6, 7), Meaning.BINARY),
        (MAPS.astype(float), (6, 7, 1), Meaning.BINARY),
        (MAPS.astype(np.uint8) * 255, (6, 7, 1), Meaning.BINARY),
        (MAPS * 300, (6, 7, 1), Meaning.NUMBERS),
        (MAPS, (6, 7, 2), Meaning.CLASSES),
        (HOT[MAPS], (6, 7, 5), Meaning.ONE_HOT),
        (VOLUMES, (2, 6, 7, 1), Meaning.BINARY),
        (VOLUMES, (2, 6, 7, 5), Meaning.CLASSES),
        (HOT[VOLUMES], (2, 6, 7, 5), Meaning.ONE_HOT),
        (VOLUMES[:, :1], (1, 6, 7, 1), Meaning.BINARY),
    ],
)
def test_kinds(labels, shape, kind):
    assert meaning_of(labels, shape)[0] is kind


@pytest.mark.parametrize("labels", [STEPS, HOT[STEPS], STEPS.astype(np.uint8)])
def test_of_a_model_that_gives_class_numbers_for_steps(labels):
    assert np.array_equal(meaning_of(labels, (4,), np.int64)[1], STEPS)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32])
def test_masks_of_every_type_are_0_and_1(dtype):
    for labels in (MAPS.astype(dtype), MAPS[..., np.newaxis].astype(dtype), (MAPS * 255).astype(dtype)):
        assert np.array_equal(meaning_of(labels, (6, 7, 1))[1], MAPS)


def test_one_hot_rows_by_chance_are_decisions_of_a_sigmoid():
    assert meaning_of(HOT[np.newaxis].repeat(3, 0), (5, 5), is_probability=True)[0] is Meaning.BINARY
    assert meaning_of(HOT[np.newaxis].repeat(3, 0), (5, 5))[0] is Meaning.ONE_HOT


def test_whole_numbers_to_be_predicted_are_moved_by_an_offset_too():
    kind, meant = meaning_of([30, 41, 7], (1,), offset=-1)
    assert kind is Meaning.NUMBERS and meant.tolist() == [29, 40, 6]
    assert meaning_of([1, 2, 1], (1,), offset=-1)[0] is Meaning.CLASSES


@pytest.mark.filterwarnings("error")
def test_class_numbers_in_float16_are_taken_without_a_warning():
    numbers = as_labels(np.float16([0, 2, 1]), "labels")
    assert numbers.dtype == np.int64 and numbers.tolist() == [0, 2, 1]


def test_an_offset_and_what_is_ignored():
    given = np.where(MAPS == 1, 2, 1)
    given[0, 0] = 255
    kind, meant = meaning_of(given, (6, 7, 1), offset=-1, ignore=[255])
    assert kind is Meaning.BINARY and (meant[0, 0] == 255).all() and np.array_equal(meant[1:], MAPS[1:])
    assert meaning_of(np.where(ROWS == 1, 1, -1), (5,), ignore=[-1])[0] is Meaning.ROWS


@pytest.mark.parametrize(
    ("labels", "shape", "message"),
    [
        (
            MAPS,
            (6, 8, 1),
            r"y\.npy: labels of shape \[N, 6, 7\] for .* \[N, 6, 8, 1\]\n.*allowed: 0 and 1 of \[N, 6, 8\]",
        ),
        (STEPS, (5, 5), r"y\.npy: labels of shape \[N, 4\] for .* \[N, 5, 5\]\n.*allowed: class numbers \[N, 5\]"),
        ([0, 1, 2], (4, 5), r"labels of shape \[N\] for an output of shape \[N, 4, 5\]"),
        (ROWS, (6,), r"labels of shape \[N, 5\] for an output of shape \[N, 6\]"),
        (HOT[:3], (6,), "one-hot labels of 5 columns for a model with 6 classes"),
        (
            ROWS * 3,
            (5,),
            r"y\.npy: label \[0 3 3 0 0\] of sample 0 is no one-hot row, and no row(.|\n)*--ignore-label 3 ",
        ),
        (np.r_[MAPS[:2] * 255, MAPS[2:]], (6, 7, 1), "labels of both 1 and 255(.|\n)*--ignore-label 255"),
    ],
)
def test_labels_that_do_not_fit(labels, shape, message):
    with pytest.raises(DataError, match=message):
        meaning_of(labels, shape)


def test_several_labels_of_a_softmax_are_refused():
    with pytest.raises(DataError, match=r"y\.npy: label \[0 1 1 0 0\] of sample 0 is no one-hot row(.|\n)*Softmax"):
        meaning_of(ROWS, (5,), is_exclusive=True)


@pytest.mark.parametrize("offset", [10**20, 2**63 - 1, -(2**31)])
def test_an_offset_that_no_class_can_have(offset):
    with pytest.raises(DataError, match=f"an offset of {offset} for the labels"):
        shifted(np.array([0, 1]), offset, ())


def test_an_offset_leaves_out_what_is_ignored():
    assert shifted(np.array([0, 1, 255]), 1, [255]).tolist() == [1, 2, 255]


def test_an_offset_for_zeros_and_ones_is_refused():
    outputs = np.linspace(-2, 2, 4 * 6 * 5).reshape(4, 6, 5).astype(np.float32)
    labels = GivenLabels((outputs > 0).astype(np.int64), "l.npy")
    with pytest.raises(DataError, match=r"l.npy: labels of 0 and 1 for each number of the output, and an offset of 1"):
        LabelMeaning(offset=1).decide(labels, outputs)
    assert LabelMeaning(offset=-1).decide(GivenLabels(labels.numbers + 1), outputs) is Meaning.BINARY

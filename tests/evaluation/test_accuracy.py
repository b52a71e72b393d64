"""Scores against slow and obvious versions of the same definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrant.errors import DataError
from calibrant.evaluation.accuracy import Scoreboard
from calibrant.evaluation.label_count import LabelCount, top_k

seeds = st.integers(0, 2**32 - 1)


def outputs_and_labels(seed, samples=17, classes=7):
    generator = np.random.default_rng(seed)
    coarse = generator.integers(-3, 4, (samples, classes)).astype(np.float32)
    return coarse, generator.integers(0, classes, samples)


@settings(max_examples=50, deadline=None)
@given(seeds, st.integers(1, 7))
def test_top_k_is_membership_in_the_sorted_front(seed, k):
    outputs, labels = outputs_and_labels(seed)
    order = np.argsort(-outputs, axis=1, kind="stable")
    expected = [label in row[:k] for row, label in zip(order, labels, strict=True)]
    assert top_k(outputs, labels, k).tolist() == expected


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_top_1_is_argmax_also_with_ties(seed):
    outputs, labels = outputs_and_labels(seed)
    assert top_k(outputs, labels, 1).tolist() == (np.argmax(outputs, axis=1) == labels).tolist()


def test_nan_is_never_right():
    outputs = np.array([[np.nan, 1.0], [1.0, np.nan], [0.0, 1.0]])
    assert top_k(outputs, np.array([1, 0, 1]), 2).tolist() == [False, False, True]


def test_outputs_with_dimensions_of_one():
    assert top_k(np.array([0.1, 0.9]).reshape(1, 1, 1, 2), np.array([1]), 1).tolist() == [True]


@pytest.mark.parametrize("labels", [[2], [-1]])
def test_label_that_is_no_class(labels):
    with pytest.raises(DataError, match=r"label -?\d is no class of a model with 2 outputs"):
        top_k(np.zeros((1, 2)), np.array(labels), 1)


def test_other_number_of_labels():
    with pytest.raises(DataError, match=r"3 samples have labels of shape \[2\]"):
        top_k(np.zeros((3, 2)), np.array([0, 1]), 1)


@settings(max_examples=30, deadline=None)
@given(seeds, st.lists(st.integers(1, 16), max_size=3))
def test_counts_over_batches_are_those_of_all_at_once(seed, cuts):
    outputs, labels = outputs_and_labels(seed)
    whole, parts = LabelCount(), LabelCount()
    whole.update(outputs, labels)
    for part in np.split(np.arange(17), sorted(cuts)):
        parts.update(outputs[part], labels[part])
    assert parts == whole and whole.samples == 17


def test_ignored_labels_are_left_out():
    count = LabelCount(ignore=[0])
    count.update(np.eye(3), np.array([0, 1, 0]))
    assert (count.samples, count.top1) == (2 - 1, 1.0)


def test_no_top_5_of_five_classes():
    count = LabelCount()
    count.update(np.eye(5), np.arange(5))
    assert count.top1 == 1.0 and count.top5 is None


def test_nothing_counted_is_none():
    assert LabelCount().top1 is None


class TestScoreboard:
    OUTPUTS = (np.eye(3), np.eye(3)[[0, 2, 2]], np.eye(3)[[1, 1, 1]])

    def test_scores_of_three_models(self):
        board = Scoreboard(["a", "b", "c"])
        board.update(self.OUTPUTS, np.arange(3))
        a, b, c = board.scores()
        assert [score.top1 for score in (a, b, c)] == [1.0, 2 / 3, 1 / 3]
        assert (a.mse, a.agreement) == (None, None) and (b.agreement, c.agreement) == (2 / 3, 1 / 3)
        assert board.agreement() == [[1, 2 / 3, 1 / 3], [2 / 3, 1, 0], [1 / 3, 0, 1]]

    def test_without_labels(self):
        board = Scoreboard(["a", "b"])
        board.update(self.OUTPUTS[:2])
        board.update(self.OUTPUTS[:2])
        a, b = board.scores()
        assert a.top1 is None and a.samples == b.samples == 6 and b.mse == pytest.approx(2 / 9)

    def test_errors_name_the_models(self):
        board = Scoreboard(["a.pb", "b.pb"])
        with pytest.raises(DataError, match=r"a\.pb and b\.pb: outputs of shapes \[3, 3\] and \[3, 2\]"):
            board.update([np.eye(3), np.ones((3, 2))])
        with pytest.raises(DataError, match=r"a\.pb: label 3 is no class"):
            board.update(self.OUTPUTS[:2], np.array([0, 1, 3]))


def test_labels_of_which_none_counts():
    board = Scoreboard(["float", "int8"], ignore=[0, 1])
    board.update([np.eye(2), np.eye(2)], labels=np.array([0, 1]))
    with pytest.raises(DataError, match="every sample has a label that does not count"):
        board.scores()

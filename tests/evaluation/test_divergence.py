"""How far two models' numbers part, where some of them are no numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from calibrant.evaluation.difference import Difference
from calibrant.evaluation.divergence import OutputDivergence, TensorDivergence
from calibrant.evaluation.predictions import scores_a_position

NAN, INF = math.nan, math.inf


def parted(first, second, step=0.5):
    found = TensorDivergence(step)
    found.update(np.array([first], np.float32), np.array([second], np.float32))
    return found


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_what_is_no_number_in_both_is_equal(value):
    found = parted([1.0, value, 2.0], [1.0, value, 3.0])
    assert (found.largest, found.reach, found.share_equal, found.lost) == (2.0, 2.0, pytest.approx(2 / 3), 0)


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_what_is_a_number_in_one_alone_is_infinitely_far(value):
    lost, gained = parted([1.0, 2.0], [value, 2.0]), parted([value, 2.0], [1.0, 2.0])
    assert lost.largest == gained.largest == lost.relative == INF
    assert lost.share_within == gained.share_within == 0.5
    assert (lost.lost, gained.lost) == (1, 0)


def test_infinities_of_other_signs_are_apart():
    assert parted([INF], [-INF]).largest == INF


def test_lost_numbers_of_all_outputs_count():
    found = OutputDivergence([1.0, 1.0])
    found.update([np.ones((2, 3)), np.ones((2, 1))], [np.full((2, 3), NAN), np.ones((2, 1))])
    assert found.lost == 6 and found.largest == INF


def test_outputs_without_values_are_equal():
    found = parted([], [])
    assert (found.largest, found.agreement, found.share_equal, found.samples) == (0.0, 1.0, 1.0, 1)


def test_of_maps_of_classes_each_place_counts():
    """And not where the largest number of a class is first met."""
    found = TensorDivergence(1.0)
    found.update(np.array([[1, 1, 7, 7], [2, 2, 2, 2]]), np.array([[7, 1, 7, 7], [2, 2, 2, 2]]))
    assert (found.agreement, found.share_equal) == (7 / 8, 7 / 8)


def test_a_class_that_is_another_does_not_agree():
    found = TensorDivergence(1.0)
    found.update(np.array([[3], [4]]), np.array([[3], [5]]))
    assert found.agreement == 0.5


@pytest.mark.parametrize(("gap", "alike"), [(0.1, 1), (0.11, 0)])
def test_another_largest_output_that_is_as_large_up_to_a_step(gap, alike):
    found = TensorDivergence(0.1)
    found.update(np.array([[0.0, 1.0 - gap, 1.0]]), np.array([[0.0, 1.0, 1.0 - gap]]))
    assert (found.agreement, found.alike) == (0, alike)


@pytest.mark.parametrize("below", [0.0, -1e9])
@pytest.mark.parametrize(("gap", "alike"), [(1e-4, 1), (0.01, 0)])
def test_without_a_step_most_other_outputs_say_what_is_near(gap, alike, below):
    """Not those of classes that are masked, be they one or many."""
    values = np.linspace(0.0, 1.0, 100)
    values[: 1 if below else 0] = below
    other = values.copy()
    other[-2:] = 1.0, 1.0 - gap
    values[-2] = 1.0 - gap
    found = TensorDivergence(None)
    found.update(values[None], other[None])
    assert (found.agreement, found.alike) == (0, alike)


@pytest.mark.parametrize("lost", [NAN, INF])
def test_what_is_lost_is_not_alike(lost):
    found = TensorDivergence(None)
    found.update(np.array([[0.0, 0.5, 1.0], [lost, 0.5, 1.0]]), np.array([[lost, 0.5, 0.2], [0.0, 0.5, 1.0]]))
    assert found.alike == 0


def test_in_maps_of_scores_each_position_is_a_prediction():
    first = np.array([[[0.0, 1.0], [2.0, 1.0]], [[0.0, 1.0], [9.0, 1.0]]])
    second = first.copy()
    second[0, 1] = 1.0, 2.0
    found = TensorDivergence(None, classes=2)
    found.update(first.reshape(2, 4), second.reshape(2, 4))
    other = Difference()
    other.update(first, second)
    assert found.agreement == other.agreement == 0.75
    assert found.alike == 1  # what limits hold for: the largest output of a sample


@pytest.mark.parametrize(("shape", "classes"), [((3, 1), None), ((3, 4), 1)])
def test_where_nothing_is_chosen_there_is_no_agreement(shape, classes):
    found = OutputDivergence([None], [classes])
    found.update([np.zeros(shape)], [np.zeros(shape)])
    assert found.agreement is None and found.alike == 1
    both = OutputDivergence([None, None], [classes, None])
    both.update([np.zeros(shape), np.eye(3)], [np.zeros(shape), np.eye(3)[[0, 1, 1]]])
    assert both.agreement == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("shape", "scores"),
    [
        (None, None),
        ((None, 10), None),
        ((None, 1, 1, 10), None),
        ((None, 8, 8, 3), 3),
        ((None, None, None, 3), 3),
        ((None, 8, 8, 1), 1),
        ((None, 8, 1), 1),
        ((None, 8, None), None),
        ((None, 1, 1, 1), None),
        ((None, 0, 5), None),
    ],
)
def test_scores_a_position(shape, scores):
    assert scores_a_position(shape) == scores


def test_strings_are_equal_or_not_as_class_numbers_are():
    found = TensorDivergence(None)
    found.update(np.array([[b"a"], [b"b"], [b"c"], [b"d"]], object), np.array([[b"a"], [b"b"], [b"c"], [b""]], object))
    assert (found.whole, found.share_equal, found.agreement, found.relative) == (True, 0.75, 0.75, 1.0)

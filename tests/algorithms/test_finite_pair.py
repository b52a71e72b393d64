"""Infinite values do not spoil a comparison."""

import math

import numpy as np
import pytest

from calibrant.algorithms.finite_pair import finite_pair
from calibrant.algorithms.median_sqnr import median_sqnr_db
from calibrant.algorithms.sqnr import sqnr_db

INF = math.inf


def test_what_is_infinite_in_the_reference_does_not_count():
    first, second = finite_pair(np.array([1.0, -INF, math.nan, 2.0]), np.array([1.5, 3.0, 4.0, -INF]))
    assert first.tolist() == [1.0, 0.0, 0.0, 2.0] and second.tolist() == [1.5, 0.0, 0.0, 0.0]


def test_a_number_for_all():
    first, second = finite_pair(np.array([[1, INF]], np.float32), 0.0)
    assert first.tolist() == [[1.0, 0.0]] and second.tolist() == [[0.0, 0.0]]


def test_finite_values_stay():
    values = np.random.default_rng(0).normal(0, 1, (2, 3, 4)).astype(np.float32)
    for before, after in zip(values, finite_pair(*values), strict=True):
        np.testing.assert_array_equal(after, before.astype(np.float64))


def test_the_ratio_of_the_finite_values():
    outputs = np.array([[10.0, -INF], [10.0, 5.0]])
    assert median_sqnr_db(outputs, outputs + [[1, 0], [1, 0]]) == pytest.approx(-10 * math.log10((0.01 + 0.008) / 2))


def test_noise_beyond_all_numbers():
    assert sqnr_db(1.0, math.inf) == -math.inf and sqnr_db(1.0, math.nan) == -math.inf
    assert sqnr_db(1.0, 1.0) == 0.0 and math.copysign(1, median_sqnr_db(np.ones((2, 2)), np.zeros((2, 2)))) == 1

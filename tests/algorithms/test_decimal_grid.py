"""Counting in decimal."""

import numpy as np
import pytest

from calibrant.algorithms.decimal_grid import MOST_NUMBERS, decimal_grid


@pytest.mark.parametrize("kind", [float, np.float32])
def test_candidates_are_counted_in_decimal(kind):
    ratios = decimal_grid(kind(0.7), kind(1.3), kind(0.01))
    assert ratios.tolist() == [hundredth / 100 for hundredth in range(70, 131)]


def test_fine_candidates_are_the_decimals_too():
    ratios = decimal_grid(0.7, 1.3, 0.0001)
    assert ratios.tolist() == [float(f"{index / 10_000:.4f}") for index in range(7000, 13_001)]


def test_candidates_stop_before_an_end_that_is_not_on_the_grid():
    assert decimal_grid(0.5, 1.0, 0.3).tolist() == [0.5, 0.8]
    assert decimal_grid(1.0, 1.0, 0.1).tolist() == [1.0]


def test_numbers_with_more_digits_than_float64_has_are_rounded_once():
    assert decimal_grid(0.1234567890123456, 0.8, 0.3).tolist() == [
        0.1234567890123456,
        0.4234567890123456,
        0.7234567890123456,
    ]
    assert decimal_grid(1e-30, 3.5e-30, 1e-30).tolist() == [1e-30, 2e-30, 3e-30]


@pytest.mark.parametrize("step", [5e-7, 1.2345e-9, 1e-38])
def test_an_endless_grid_is_thinned_evenly(step):
    numbers = decimal_grid(0.7, 1.3, step)
    assert MOST_NUMBERS / 2 < numbers.size <= MOST_NUMBERS
    assert (numbers[0], numbers[-1]) == (0.7, pytest.approx(1.3, abs=2e-6))
    distances = np.diff(numbers)
    assert distances.min() > 0
    assert np.ptp(distances) < 1e-12


@pytest.mark.parametrize("wrong", [(0, 1, 0), (0, 1, -1), (1, 0, 0.1), (0, np.inf, 1), (np.nan, 1, 1)])
def test_endless_candidates_are_refused(wrong):
    with pytest.raises(ValueError, match="cannot count"):
        decimal_grid(*wrong)

"""The search for ranges by errors that it is told: what it proposes, and what it chooses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from calibrant.steps.refining.range_search import (
    FIRST,
    MATTERS,
    STEP,
    ClippingRange,
    best_of,
    confirmed,
    is_better,
    search_ranges,
)

RANDOM = np.random.default_rng(0)
SAMPLES = RANDOM.uniform(0.5, 1.5, 64)


def errors_with_least_at(low, high, weight=1.0):
    """Errors of a quantizer that are least where its range ends at these values."""

    def errors(quantizer):
        bounds = quantizer.range
        apart = sum(np.log(max(-a, 1e-9) / -b) ** 2 for a, b in ((bounds[0], low), (-bounds[1], -high)) if b)
        return weight * (0.1 + apart) * SAMPLES

    return errors


def measure_by(*functions):
    """A measurement, and the number of candidates that it was asked for."""
    asked = []

    def measure(candidates):
        asked.extend(quantizer for quantizers in candidates.values() for quantizer in quantizers)
        return {place: np.stack([functions[place](q) for q in quantizers]) for place, quantizers in candidates.items()}

    return measure, asked


@pytest.mark.parametrize("wanted", [0.2, 0.5, 1.0, 1.5])
def test_finds_the_least_error_of_a_range_with_one_end(wanted):
    measure, _ = measure_by(errors_with_least_at(0, wanted * 8))
    ((*_, found),) = search_ranges([ClippingRange(0.0, 8.0)], measure)
    assert found.low == 0
    assert found.high == pytest.approx(wanted * 8, rel=STEP - 1)


def test_finds_two_ends_that_move_by_different_factors():
    measure, _ = measure_by(errors_with_least_at(-60, 24))
    ((*_, found),) = search_ranges([ClippingRange(-240.0, 25.0)], measure)
    assert found.low == pytest.approx(-60, rel=0.2)
    assert found.high == pytest.approx(24, rel=0.2)


def test_a_symmetric_range_moves_as_a_whole():
    measure, asked = measure_by(errors_with_least_at(-2, 2))
    ((*_, found),) = search_ranges([ClippingRange(-8.0, 4.0, asymmetric=False)], measure)
    assert found.low == -2 * found.high
    assert {quantizer.offset for quantizer in asked} == {0}


def test_a_range_that_makes_little_of_the_noise_stays():
    small = errors_with_least_at(0, 1, MATTERS / 1000)
    measure, _ = measure_by(errors_with_least_at(0, 1), small)
    (*_, first), (*_, second) = search_ranges([ClippingRange(0.0, 4.0), ClippingRange(0.0, 4.0)], measure)
    assert first.high < 2
    assert second.high == 4


def test_a_range_of_nothing_but_zero_stays():
    measure, _ = measure_by(lambda quantizer: SAMPLES)
    assert search_ranges([ClippingRange(0.0, 0.0)], measure) == [[ClippingRange(0.0, 0.0)]]


def test_a_scan_ends_where_narrower_is_clearly_worse():
    measure, asked = measure_by(errors_with_least_at(0, 8))
    search_ranges([ClippingRange(0.0, 8.0)], measure)
    assert len(asked) <= 16
    assert min(quantizer.range[1] for quantizer in asked) > 2


def test_of_equal_errors_the_present_one_stays():
    assert best_of(np.ones((5, 8)), 3) == 3


def test_of_ranges_that_are_not_clearly_worse_the_widest_is_taken():
    noise = RANDOM.normal(0, 0.1, 64)
    errors = np.abs([4 + noise, 1.001 + noise[::-1], 1 + noise, 3 + noise])
    assert best_of(errors, 0) == 1


def test_better_is_more_than_a_standard_error():
    errors = np.ones(16)
    assert is_better(errors, errors + 0.1) and not is_better(errors + 0.1, errors)
    noise = np.tile([0.9, 1.2], 8)
    assert is_better(errors - 0.02, errors) and not is_better(errors, noise - 0.02)
    faulty = np.append(np.full(15, 0.5), 1000)
    assert is_better(faulty, errors, robust=True) and not is_better(faulty, errors)


def test_a_range_moves_only_where_other_samples_agree():
    measure, _ = measure_by(errors_with_least_at(0, 8), errors_with_least_at(0, 2))
    wide, narrow = ClippingRange(0.0, 8.0), ClippingRange(0.0, 2.0)
    assert confirmed([[wide, narrow], [wide, narrow]], measure) == (wide, narrow)
    assert confirmed([[wide], [narrow]], measure) == (wide, narrow)


def test_without_a_gain_of_the_costliest_the_others_are_left_alone():
    flat = [lambda quantizer, size=size: size * SAMPLES for size in range(12, 2, -1)]
    measure, asked = measure_by(*flat)
    ranges = [ClippingRange(0.0, 4.0)] * len(flat)
    assert search_ranges(ranges, measure) == [[entry] for entry in ranges]
    assert len(asked) < len(flat) + FIRST * 16


def test_one_sample_is_no_reason_to_fail():
    assert best_of(np.array([[3.0], [1.0], [2.0]]), 0) == 1


@given(arrays(np.float64, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.floats(0, 100)), st.data())
def test_the_choice_is_never_worse_than_the_present_one(errors, data):
    present = data.draw(st.integers(0, len(errors) - 1))
    assert errors[best_of(errors, present)].sum() <= errors[present].sum()

"""A sum whose bits do not depend on the order of its summands."""

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrant.algorithms.ordered_sum import OrderFreeSum

NUMBERS = st.floats(-(2.0**80), 2.0**80, allow_nan=False)


def summed(values):
    result = OrderFreeSum(())
    for value in values:
        result.add(np.float64(value))
    return result


@settings(max_examples=60, deadline=None)
@given(st.lists(NUMBERS, max_size=12), st.randoms())
def test_the_sum_is_exact_up_to_its_last_place_in_any_order(values, random):
    exact = sum((Fraction(value) for value in values), Fraction(0))
    found = summed(values)
    rounding = len(values) * Fraction(1, 2**64) + sum(abs(Fraction(value)) for value in values) / 2**50
    assert abs(Fraction(float(found.total())) - exact) <= rounding
    random.shuffle(values)
    assert summed(values) == found


def test_what_cancels_leaves_the_rest():
    assert float(summed([1e20, 1.5, -1e20]).total()) == 1.5


def test_stored_and_merged():
    first, second = OrderFreeSum((2,)), OrderFreeSum((2,))
    first.add(np.array([1.25, -3.0]))
    second.add(np.array([0.5, 1e-10]))
    restored = OrderFreeSum.from_array(first.to_array()).merge(second)
    assert restored == second.merge(first) and restored != first
    np.testing.assert_array_equal(restored.total(), [1.75, -3.0 + 1e-10])


def test_sums_far_too_large_are_cut_instead_of_wrapping_round():
    assert float(summed([1e300, 1e300]).total()) == 2.0**85

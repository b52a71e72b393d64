"""What is cut off an operand's range changes no code of a sum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.algorithms.counted_range import counted, part

sizes = st.floats(0, 1e9).map(np.float32).map(float)
ranges = st.tuples(sizes.map(lambda size: -size), sizes).filter(lambda found: found[1] - found[0] > 1e-3)


@pytest.mark.parametrize("operation", ["Add", "Sub"])
@pytest.mark.parametrize("position", [0, 1])
@given(own=ranges, other=ranges, made=ranges, seed=st.integers(0, 9))
def test_codes_of_a_sum_stay(operation, position, own, other, made, seed):
    random = np.random.default_rng(seed)
    quantizer = Quantizer.from_range(*made)
    low, high = counted(operation, position, own, other, quantizer.range)
    assert own[0] <= low <= 0 <= high <= own[1]
    sign = -1 if operation == "Sub" else 1

    def codes(first):
        pair = (first, second) if position == 0 else (second, first)
        return quantizer.quantize(pair[0] + sign * pair[1])

    second = np.append(random.uniform(*other, 200), [*other, 0])
    first = np.append(random.uniform(*own, 200), [*own, 0])
    assert (codes(first) == codes(first.clip(low, high))).all()


def test_a_mask_reaches_as_far_as_the_sum():
    low, high = counted("Add", 1, (-1e9, 0.0), (-5.0, 6.0), (-16.0, 6.0))
    assert -23 < low < -22 and high == 0.0


def test_nothing_counts_beyond_the_range_itself():
    assert part((-1.0, 2.0), (-5.0, 1e9)) == (-1.0, 2.0)

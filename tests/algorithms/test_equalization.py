"""Factors of cross-layer equalization: what they promise for any ranges."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from calibrant.algorithms.equalization import MARGIN, equalizing_factors, within_clips

RANGES = arrays(np.float64, 5, elements=st.one_of(st.just(0.0), st.floats(1e-6, 1e6)))
POSITIVE = arrays(np.float64, 5, elements=st.floats(1e-3, 1e3))


@given(RANGES, RANGES, RANGES)
def test_both_sides_get_the_same_share_of_their_range(weights, activations, read):
    factors = equalizing_factors([weights, activations], read)
    before = np.maximum(*(values / (values.max() or 1.0) for values in (weights, activations)))
    after = read / (read.max() or 1.0)
    known = (before > 0) & (after > 0)
    np.testing.assert_allclose((before / factors)[known], (after * factors)[known], rtol=1e-9)
    assert (factors[~known] == 1).all()


@given(RANGES)
def test_weights_with_a_range_for_each_channel_ask_for_nothing(activations):
    factors = equalizing_factors([activations], None)
    heard = activations > 0
    np.testing.assert_allclose((activations / factors)[heard], activations.max(), rtol=1e-9)


@given(POSITIVE, arrays(np.float64, 5, elements=st.floats(0, 6)))
def test_a_clip_still_clips_the_same_values(wished, largest):
    factors = within_clips(wished, largest, 6.0)
    near = MARGIN * largest >= 6.0
    assert (factors[near] == 1).all()
    assert (MARGIN * (largest / factors)[~near] <= 6.0 * (1 + 1e-12)).all() and (factors > 0).all()


@pytest.mark.parametrize("odd", [np.inf, np.nan])
def test_ranges_that_are_not_finite_ask_for_nothing(odd):
    with np.errstate(invalid="raise"):
        assert equalizing_factors([np.array([1.0, 2.0])], np.array([odd, 1.0])).tolist() == [1, 1]

"""Weights in -127 ... 127: only channels that reach -128 change, to the nearest codes of a wider scale."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from calibrant.algorithms.arq import quantize_weights
from calibrant.algorithms.narrow_range import in_narrow_range

WEIGHTS = arrays(np.float32, (5, 3), elements=st.floats(-8, 8, width=32))


@settings(max_examples=60, deadline=None)
@given(WEIGHTS, st.sampled_from([(), (1,)]), st.sampled_from([6, 7, 8]))
@example(np.float32([[4.9375, -5], [-5, -5]]), (), 6)
def test_no_code_is_below_and_no_weight_is_further_than_half_a_step(floats, axes, bits):
    wide = quantize_weights(floats, bits, axes)
    narrow = in_narrow_range(wide, floats)
    assert narrow.values.min() >= -127
    steps = np.abs(narrow.dequantize().astype(np.float64) - floats) / narrow.scale_broadcast()
    # With the symmetric scale |lowest| / 2^(b-1), the highest code is a step short of |lowest|.
    cut_off = narrow.values == 2 ** (bits - 1) - 1
    assert steps[~cut_off].max(initial=0) <= 0.5001
    assert steps[cut_off].max(initial=0) <= (1.0001 if narrow is wide else 0.5001)


@settings(max_examples=60, deadline=None)
@given(WEIGHTS)
def test_channels_that_do_not_reach_the_lowest_code_stay(floats):
    wide = quantize_weights(floats, 8, (1,))
    narrow = in_narrow_range(wide, floats)
    for channel in np.flatnonzero(wide.values.min(axis=0) > -128):
        assert narrow.scale[channel] == wide.scale[channel]
        assert np.array_equal(narrow.values[:, channel], wide.values[:, channel])


def test_a_channel_that_does_gets_the_wider_scale():
    narrow = in_narrow_range(quantize_weights(np.array([-2.0, 0.5], np.float32)), np.array([-2.0, 0.5], np.float32))
    assert narrow.values.tolist() == [-127, 32]
    assert narrow.scale.tolist() == [np.float32(2) / np.float32(127)]


def test_weights_within_the_range_come_back_as_they_are():
    floats = np.array([-1.0, 2.0], np.float32)
    wide = quantize_weights(floats)
    assert in_narrow_range(wide, floats) is wide

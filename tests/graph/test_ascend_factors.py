"""deq_scale and the scales that come back from it: properties over all float32 numbers that are scales."""

import struct

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from calibrant.graph.ascend.deq_scale import pack, unpack
from calibrant.graph.ascend.scales import (
    activation_scale,
    exact_activation_scale,
    exact_weight_scale,
    weight_scale,
)

SCALES = st.floats(2.0**-40, 2.0**20, width=32).map(np.float32)
QUICK = settings(max_examples=60, deadline=None)


@QUICK
@given(st.lists(st.tuples(SCALES, st.integers(0, 255), st.integers(-128, 127)), min_size=1, max_size=9))
def test_packing_round_trip(channels):
    scale, shift, offset = (np.array(column) for column in zip(*channels, strict=True))
    packed = pack(scale, shift, offset)
    assert packed.dtype == np.uint64
    for found, wanted in zip(unpack(packed), (scale, shift, offset), strict=True):
        np.testing.assert_array_equal(found, wanted)


@QUICK
@given(SCALES, st.integers(0, 255), st.integers(-128, 127))
def test_packing_against_the_layout_in_bytes(scale, shift, offset):
    wanted = struct.pack("<fBbH", scale, shift, offset, 0)
    assert pack(np.array([scale]), shift, offset).astype("<u8").tobytes() == wanted


@QUICK
@given(st.integers(0, 2**64 - 1))
def test_unpacking_any_word(word):
    scale, shift, offset = unpack(np.array(word, np.uint64))
    content = struct.pack("<Q", word)
    assert scale.tobytes() == content[:4]
    assert (int(shift), int(offset)) == struct.unpack("<Bb", content[4:6])


@pytest.mark.parametrize("shift, offset", [(-1, 0), (256, 0), (0, -129), (0, 128)])
def test_what_does_not_fit_is_refused(shift, offset):
    with pytest.raises(ValueError, match="must be in"):
        pack(np.ones(1, np.float32), shift, offset)


def neighbours(value):
    return {np.nextafter(value, np.float32(0)), value, np.nextafter(value, np.float32(np.inf))}


@QUICK
@given(SCALES)
def test_an_activation_scale_comes_back(scale):
    kept = exact_activation_scale(scale)
    assert kept in neighbours(scale)
    assert activation_scale(np.float32(1) / kept) == kept == exact_activation_scale(kept)


@QUICK
@given(st.lists(SCALES, min_size=1, max_size=9), SCALES)
def test_weight_scales_come_back(scales, scale_d):
    scales = np.array(scales, np.float32)
    kept = exact_weight_scale(scales, scale_d)
    assert all(new in neighbours(old) for new, old in zip(kept, scales, strict=True))
    np.testing.assert_array_equal(weight_scale(kept * scale_d, scale_d), kept)
    np.testing.assert_array_equal(exact_weight_scale(kept, scale_d), kept)


@QUICK
@given(SCALES, SCALES)
def test_the_products_in_the_file_do_not_change(scale_w, scale_d):
    """Only a scale that the file cannot tell from its neighbour is moved."""
    kept = exact_weight_scale(np.array([scale_w]), scale_d)[0]
    assert kept * scale_d == scale_w * scale_d
    assert np.float32(1) / exact_activation_scale(scale_d) == np.float32(1) / scale_d


@QUICK
@given(st.floats(width=32, min_value=2.0**-149, max_value=2.0**127))
def test_scales_at_the_ends_of_float32_stay_numbers(scale):
    scale = np.float32(scale)
    assume(scale > 0)
    assert np.isfinite(exact_activation_scale(scale)) and exact_activation_scale(scale) > 0
    kept = exact_weight_scale(np.array([scale]), np.float32(1e-30))
    assert np.isfinite(kept).all() and (kept > 0).all()

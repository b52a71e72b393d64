"""Ranges of tensors between layers."""

import numpy as np
import pytest

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.algorithms.histogram import Histogram
from calibrant.steps.ranges.intermediate_tensors import search_intermediate


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("whole", [False, True])
def test_of_few_values_no_range_is_wider_than_theirs(seed, whole):
    values = np.random.default_rng(seed).standard_normal(64).astype(np.float32)
    histogram = Histogram()
    histogram.update(values)
    found = search_intermediate({"y:0": histogram}, {"y:0": whole}, True)["y:0"]
    widest = (max(values.max(), 0) - min(values.min(), 0)) / 255
    assert found.quantizer.scale <= widest * 1.001
    assert found.quantizer.scale >= widest * (0.999 if whole else 0.69)


@pytest.mark.parametrize("asymmetric", [False, True])
@pytest.mark.parametrize("value", [1.0, -1e9, 0.1, -3e-5])
def test_a_mask_is_held_exactly(value, asymmetric):
    values = np.array([0, value, value, 0, 0], np.float32)
    histogram = Histogram()
    histogram.update(values)
    found = search_intermediate({"y:0": histogram}, {"y:0": False}, asymmetric)["y:0"]
    assert (found.quantizer.fake_quantize(values) == values).all() and found.mean_squared_error == 0
    again = Quantizer.from_range(found.low, found.high, asymmetric=asymmetric)
    assert again == found.quantizer


@pytest.mark.parametrize("asymmetric", [False, True])
@pytest.mark.parametrize("ends", [(0, 2), (0, 10), (-3, 4), (-100, 20), (0, 127), (-128, 127)])
def test_whole_numbers_are_held_exactly(ends, asymmetric):
    """Even where they are cut to integers, so that nothing may be a little less."""
    values = np.arange(ends[0], ends[1] + 1, dtype=np.float32)
    if not asymmetric:
        values = values.clip(-127, 127)
    histogram = Histogram()
    histogram.update(values)
    found = search_intermediate({"y:0": histogram}, {"y:0": False}, asymmetric)["y:0"]
    codes = found.quantizer.quantize(values).astype(np.int32) - found.quantizer.offset
    np.testing.assert_array_equal((codes.astype(np.float32) * found.quantizer.scale).astype(np.int32), values)
    assert found.mean_squared_error == 0


def test_whole_numbers_of_more_codes_and_others_have_a_scale_of_their_own():
    for values in (np.arange(300), np.arange(10) + 0.5, np.arange(10) * 1.5, np.full(10, 5)):
        histogram = Histogram()
        histogram.update(values.astype(np.float32))
        found = search_intermediate({"y:0": histogram}, {"y:0": False}, True)["y:0"]
        assert found.quantizer.scale != 2.0 ** np.round(np.log2(found.quantizer.scale))

"""Range to factors, values to codes and back."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from calibrant.algorithms.arithmetic import SMALLEST_SCALE, Quantizer, shortest_decimal

bounds = st.floats(-1e6, 1e6, width=32)
bit_counts = st.integers(4, 16)


def test_asymmetric_factors_of_a_plain_range():
    quantizer = Quantizer.from_range(-1.0, 4.1)
    assert quantizer.scale == np.float32(5.1 / 255)
    assert quantizer.offset == -128 + 50
    assert isinstance(quantizer.scale, np.float32)
    assert isinstance(quantizer.offset, int)


@pytest.mark.parametrize(
    ("low", "high", "scale"),
    [(-1.0, 2.54, 0.02), (-2.56, 1.0, 0.02), (-2.55, 2.55, 2.55 / 127), (0.0, 1.27, 0.01), (-1.28, 0.0, 0.01)],
)
def test_symmetric_scale_follows_the_larger_side(low, high, scale):
    quantizer = Quantizer.from_range(low, high, asymmetric=False)
    assert quantizer == Quantizer(np.float32(scale), 0)


@pytest.mark.parametrize(("low", "high", "offset"), [(1.0, 4.0, -128), (-4.0, -1.0, 127)])
def test_a_one_sided_range_is_widened_to_zero(low, high, offset):
    quantizer = Quantizer.from_range(low, high)
    assert quantizer.scale == np.float32(4 / 255)
    assert quantizer.offset == offset


@pytest.mark.parametrize(("asymmetric", "offset"), [(True, -128), (False, 0)])
def test_a_range_of_zero_width_has_scale_one(asymmetric, offset):
    assert Quantizer.from_range(0.0, 0.0, asymmetric=asymmetric) == Quantizer(np.float32(1), offset)


def test_a_range_of_zero_width_has_an_upper_code_of_scale_one_with_16_bits():
    assert Quantizer.from_range(0.0, 0.0, 16, asymmetric=False).accumulator_scale == 1


@pytest.mark.parametrize("asymmetric", [True, False])
@given(low=st.floats(-10, 0), high=st.floats(0, 10), power=st.integers(-110, 100))
@settings(max_examples=60, deadline=None)
def test_data_in_another_unit_get_the_same_codes(asymmetric, low, high, power):
    low, high = round(low, 3), round(high, 3)
    plain = Quantizer.from_range(low, high, asymmetric=asymmetric)
    other = Quantizer.from_range(low * 2.0**power, high * 2.0**power, asymmetric=asymmetric)
    factor = np.float32(2.0**power) if low or high else np.float32(1)
    assert (other.scale, other.offset) == (plain.scale * factor, plain.offset)


@pytest.mark.parametrize("asymmetric", [True, False])
@pytest.mark.parametrize("bound", [1e-45, 1e-42, 1e-38, 2e-37])
def test_the_smallest_scale_is_normal_and_has_a_normal_reciprocal(asymmetric, bound):
    quantizer = Quantizer.from_range(0, bound, asymmetric=asymmetric)
    assert quantizer.scale == np.float32(SMALLEST_SCALE)
    assert SMALLEST_SCALE <= quantizer.inverse < np.inf


@given(bounds, bounds, bit_counts, st.booleans())
@settings(max_examples=60, deadline=None)
@example(-3.4e38, 3.4e38, 8, True)
def test_real_zero_is_exact(a, b, bits, asymmetric):
    quantizer = Quantizer.from_range(min(a, b), max(a, b), bits, asymmetric)
    assert quantizer.lowest <= quantizer.offset <= quantizer.highest
    assert quantizer.quantize(np.zeros(1))[0] == quantizer.offset
    assert quantizer.fake_quantize(np.zeros(1))[0] == 0


@given(bounds, bounds, bit_counts)
@settings(max_examples=60, deadline=None)
def test_values_inside_the_range_move_by_at_most_half_a_step(a, b, bits):
    quantizer = Quantizer.from_range(min(a, b), max(a, b), bits)
    values = np.linspace(*quantizer.range, 1001, dtype=np.float32)
    moved = np.abs(quantizer.fake_quantize(values).astype(np.float64) - values)
    assert moved.max() <= (0.5 + 2.0 ** (bits - 22)) * float(quantizer.scale)


@given(bounds, bounds, bit_counts)
@settings(max_examples=60, deadline=None)
def test_every_code_survives_the_round_trip(a, b, bits):
    quantizer = Quantizer.from_range(min(a, b), max(a, b), bits)
    codes = np.arange(quantizer.lowest, quantizer.highest + 1)
    assert np.array_equal(quantizer.quantize(quantizer.dequantize(codes)), codes)


def test_ties_go_to_even_and_values_outside_clip():
    quantizer = Quantizer(np.float32(1), 0)
    values = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 1e30, -1e30, 127.4, -128.6], np.float32)
    assert quantizer.quantize(values).tolist() == [0, 2, 2, 0, -2, 127, -128, 127, -128]
    assert quantizer.quantize(values).dtype == np.int8
    assert quantizer.fake_quantize(values).dtype == np.float32


def test_the_reciprocal_is_multiplied_not_divided_by():
    quantizer = Quantizer(np.float32(0.1), 0)
    assert quantizer.inverse.dtype == np.float32
    tie = np.float32(0.25)
    assert quantizer.quantize(tie) == np.rint(tie * np.float32(10))
    values = np.random.default_rng(0).integers(-1270, 1270, 20_000).astype(np.float32) / np.float32(20)
    divide_channels = np.clip(np.rint(values / quantizer.scale), -128, 127)
    multiplied = np.clip(np.rint(values * quantizer.inverse), -128, 127)
    assert np.array_equal(quantizer.quantize(values), multiplied)
    assert not np.array_equal(divide_channels, multiplied)


def test_products_that_overflow_clip_silently():
    quantizer = Quantizer(np.float32(1e-7), 5)
    with np.errstate(all="raise"):
        assert quantizer.quantize(np.float32([3e38, -3e38])).tolist() == [127, -128]


@pytest.mark.filterwarnings("error")
def test_a_range_beyond_float32_is_infinite_without_a_warning():
    assert Quantizer(np.float32(3e38), 0).range == (-np.inf, np.inf)


def test_more_than_eight_bits_give_int32():
    quantizer = Quantizer.from_range(0, 1023, bits=10)
    assert quantizer.quantize(np.float32([0, 1023])).tolist() == [-512, 511]
    assert quantizer.quantize(np.float32([0])).dtype == np.int32


def test_sixteen_bits_are_the_sums_of_two_int8_codes():
    quantizer = Quantizer.from_range(-1, 127 * 256 + 127, bits=16, asymmetric=False)
    assert (quantizer.scale, quantizer.lowest, quantizer.highest) == (1, -32639, 32639)
    assert quantizer.accumulator_scale == 256


def test_the_representable_range():
    assert Quantizer(np.float32(0.5), -28).range == (-50.0, 77.5)


def test_float16_scale_is_the_nearest_one_held_as_float32():
    quantizer = Quantizer(np.float32(0.1), 3).with_float16_scale()
    assert quantizer == Quantizer(np.float32(np.float16(0.1)), 3)
    assert quantizer.scale.dtype == np.float32


@pytest.mark.parametrize(("scale", "kept"), [(1e-30, 2.0**-24), (1e5, 65504.0), (65519.0, 65504.0), (65520.0, 65504.0)])
def test_float16_scale_saturates(scale, kept):
    with np.errstate(all="raise"):
        assert Quantizer(np.float32(scale), 0).with_float16_scale().scale == kept


@pytest.mark.parametrize(
    "wrong", [(0, 0, 8), (-1, 0, 8), (np.nan, 0, 8), (1e39, 0, 8), (1, 128, 8), (1, 0, 1), (1, 0, 17)]
)
def test_impossible_factors_are_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        Quantizer(*wrong)


@pytest.mark.parametrize(("low", "high"), [(1, 0), (np.nan, 1), (0, np.inf)])
def test_impossible_ranges_are_refused(low, high):
    with pytest.raises(ValueError, match="finite and in order"):
        Quantizer.from_range(low, high)


@pytest.mark.parametrize("number", [0.7, np.float32(0.7), float(np.float32(0.7))])
def test_the_decimal_that_was_written_comes_back(number):
    assert str(shortest_decimal(number)) == "0.7"


def test_a_decimal_finer_than_float32_is_kept():
    assert str(shortest_decimal(0.999999999)) == "0.999999999"

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.algorithms.arq import QuantizedWeights, quantize_weights
from reference import arq as reference

AXES = {"HWIO": (3,), "HWIM": (2, 3), "HWOI": (2,), "first and last": (0, 3), "per tensor": ()}


def some_weights(shape=(3, 3, 4, 5), seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, shape).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    weights=arrays.arrays(
        np.float32,
        arrays.array_shapes(min_dims=1, max_dims=4, max_side=4),
        elements=st.floats(-1000, 1000, width=32) | st.integers(-300, 300).map(lambda n: n / 2),
    ),
    bits=st.sampled_from([6, 7, 8]),
    data=st.data(),
)
def test_equals_the_reference(weights, bits, data):
    axes = data.draw(st.sets(st.integers(0, weights.ndim - 1)).map(sorted).map(tuple))
    quantized = quantize_weights(weights, bits, axes)
    scales, codes = reference.quantize(weights, bits, axes)
    np.testing.assert_array_equal(quantized.scale, scales)
    np.testing.assert_array_equal(quantized.values, codes)


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.float32, 5, elements=st.floats(-(2.0**127), 2.0**127, width=32)), st.sampled_from([6, 7, 8]))
def test_equals_the_quantizer_of_one_range(weights, bits):
    quantizer = Quantizer.from_range(weights.min(), weights.max(), bits, asymmetric=False)
    quantized = quantize_weights(weights, bits)
    assert quantized.scale[0] == quantizer.scale
    np.testing.assert_array_equal(quantized.values, quantizer.quantize(weights))
    np.testing.assert_array_equal(quantized.dequantize(), quantizer.dequantize(quantized.values))


@pytest.mark.parametrize("axes", AXES.values(), ids=AXES.keys())
def test_shapes_and_types(axes):
    weights = some_weights()
    quantized = quantize_weights(weights, channel_axes=axes)
    assert quantized.values.dtype == np.int8
    assert quantized.values.shape == weights.shape
    assert quantized.scale.dtype == np.float32
    assert quantized.scale.shape == (int(np.prod([weights.shape[a] for a in axes])),)
    assert quantized.dequantize().dtype == np.float32
    assert np.abs(quantized.dequantize() - weights).max() <= quantized.scale.max() * 0.5001


def test_depthwise_channels_count_in_c_order():
    weights = np.ones((1, 1, 2, 3), np.float32) * np.arange(1, 7, dtype=np.float32).reshape(2, 3) * 127
    np.testing.assert_array_equal(quantize_weights(weights, channel_axes=(2, 3)).scale, [1, 2, 3, 4, 5, 6])


def test_ties_go_to_the_even_code():
    weights = np.array([127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5], np.float32)
    assert quantize_weights(weights).values.tolist() == [127, 0, 2, 2, 0, -2, -2]


def test_the_further_side_decides_the_scale():
    assert quantize_weights(np.array([-1.0, 1.0], np.float32)).scale == np.float32(1 / 127)
    further_below = quantize_weights(np.array([-1.0, 0.9], np.float32))
    assert further_below.scale == np.float32(1 / 128)
    assert further_below.values.min() == -128


def test_weights_on_one_side_only_still_contain_zero_in_their_range():
    assert quantize_weights(np.array([100.0, 127.0], np.float32)).values.tolist() == [100, 127]


@pytest.mark.parametrize("bits, lowest, highest", [(6, -32, 31), (7, -64, 63), (8, -128, 127)])
def test_bits_bound_the_codes(bits, lowest, highest):
    below = quantize_weights(np.array([-1.0, 0.2], np.float32), bits)
    above = quantize_weights(np.array([1.0, 0.2], np.float32), bits)
    assert (below.values.min(), above.values.max()) == (lowest, highest)


def test_a_channel_of_zeros_has_the_largest_scale_of_the_others():
    weights = some_weights((2, 2, 2, 3))
    weights[..., 1] = 0
    quantized = quantize_weights(weights, channel_axes=(3,))
    assert quantized.scale[1] == max(quantized.scale[[0, 2]]) < 0.1
    assert not quantized.values[..., 1].any()


def test_weights_that_are_all_zero_have_scale_one():
    assert quantize_weights(np.zeros((3, 2), np.float32), channel_axes=(1,)).scale.tolist() == [1, 1]
    assert quantize_weights(np.zeros((3, 2), np.float32)).scale == 1


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), power=st.integers(-110, 100))
def test_weights_in_another_unit_get_the_same_codes(seed, power):
    weights = np.random.default_rng(seed).normal(size=(5, 4)).astype(np.float32)
    plain, other = quantize_weights(weights, 8, (1,)), quantize_weights(weights * np.float32(2.0**power), 8, (1,))
    np.testing.assert_array_equal(other.values, plain.values)
    np.testing.assert_array_equal(other.scale, plain.scale * np.float32(2.0**power))


def test_denormal_weights_are_quantized_with_the_smallest_scale():
    quantized = quantize_weights(np.array([1e-40, -1e-38], np.float32))
    assert quantized.scale == np.finfo(np.float32).tiny
    assert quantized.values.tolist() == [0, -1]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(bad):
    weights = some_weights()
    weights[1, 1, 1, 1] = bad
    for axes in AXES.values():
        with pytest.raises(ValueError, match="NaN or infinity"):
            quantize_weights(weights, channel_axes=axes)


@pytest.mark.parametrize(
    "shape, bits, axes", [((0,), 8, ()), ((2, 2), 9, ()), ((2, 2), 8, (2,)), ((2, 2), 8, (1, -1)), ((2, 2), 1, ())]
)
def test_arguments_that_make_no_sense_are_refused(shape, bits, axes):
    with pytest.raises(ValueError):
        quantize_weights(np.zeros(shape, np.float32), bits, axes)


@pytest.mark.parametrize("axes", AXES.values(), ids=AXES.keys())
def test_squared_error(axes):
    weights = some_weights()
    quantized = quantize_weights(weights, channel_axes=axes)
    difference = weights - quantized.values * quantized.scale_broadcast().astype(np.float64)
    assert quantized.squared_error(weights) == pytest.approx((difference**2).sum(), rel=1e-12)
    others = tuple(a for a in range(4) if a not in axes)
    per_channel = quantized.squared_error_per_channel(weights)
    np.testing.assert_allclose(per_channel, (difference**2).sum(axis=others).reshape(-1), rtol=1e-12)


def test_squared_error_of_many_rows_adds_up():
    weights = some_weights((300_000, 2))
    quantized = quantize_weights(weights, channel_axes=(1,))
    expected = ((weights - quantized.values * quantized.scale.astype(np.float64)) ** 2).sum()
    assert quantized.squared_error(weights) == pytest.approx(expected, rel=1e-10)


def test_squared_error_wants_the_same_shape():
    with pytest.raises(ValueError, match="shape"):
        QuantizedWeights(np.zeros((2, 1), np.int8), np.ones(1, np.float32), (), 8).squared_error(np.zeros((1, 2)))


def test_the_input_is_left_alone_and_half_precision_is_taken_as_it_is():
    weights = some_weights().astype(np.float16)
    before = weights.copy()
    half, single = quantize_weights(weights), quantize_weights(weights.astype(np.float32))
    np.testing.assert_array_equal(weights, before)
    np.testing.assert_array_equal(half.values, single.values)

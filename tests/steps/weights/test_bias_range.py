"""A bias is held whatever the size of its channel's weights, and no other channel's numbers move."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import calibrant
from calibrant.algorithms.narrow_range import in_narrow_range
from calibrant.errors import ConfigError
from calibrant.graph.running.run import run_once
from graphs import conv, graph_def, numbers, placeholder, small_network, tf

BOTH = ["arq_quantize { channel_wise : true }", "nuq_quantize { num_steps : 16 }"]


def network(weights, bias, **options):
    def build():
        x = placeholder([None, 6, 6, 2])
        y = tf.nn.conv2d(x, tf.constant(weights), 1, "SAME", name="conv")
        tf.identity(tf.nn.bias_add(y, tf.constant(np.float32(bias)), name="conv/bias"), name="out")

    definition, data = graph_def(build), numbers(32, 6, 6, 2)
    result = calibrant.quantize(definition, data=data, **options)
    wanted = run_once(result.original, {result.original.input_keys[0]: data})[0]
    got = run_once(result.fakequant, {result.fakequant.input_keys[0]: data})[0]
    return result.network.layers[0], wanted, got


def decibels(wanted, got):
    wanted, got = wanted.astype(np.float64), got.astype(np.float64)
    return 10 * np.log10(np.square(wanted).sum() / max(np.square(wanted - got).sum(), 1e-30))


@pytest.mark.parametrize("block", BOTH)
@pytest.mark.parametrize("size", [0.0, 1e-42, 1e-38, 1e-20, 1e-9, 1e-6])
def test_a_channel_with_weights_near_zero_keeps_its_bias(size, block):
    weights, bias = numbers(3, 3, 2, 4, scale=0.3), [0.1, -0.2, 0.45, 0.3]
    weights[..., 2] *= np.float32(size)
    layer, wanted, got = network(weights, bias, config=f"common_config {{ {block} }}")
    assert abs(got[..., 2] - wanted[..., 2]).max() < 1e-3
    assert decibels(wanted, got) > (35 if "arq" in block else 20)
    assert (layer.integer_bias() < 2**31 - 1).all()


@pytest.mark.parametrize("size", [0.0, 1e-42, 1e-20, 1e-7])
@pytest.mark.parametrize("channel_wise", ["true", "false"])
def test_a_layer_with_weights_near_zero_keeps_its_bias(size, channel_wise):
    weights = numbers(3, 3, 2, 4) * np.float32(size)
    config = f"common_config {{ arq_quantize {{ channel_wise : {channel_wise} }} }}"
    _, wanted, got = network(weights, [5.0, -4.5, 0.001, 0.0], config=config)
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_only_the_channel_that_needs_it_changes():
    weights, bias = numbers(3, 3, 2, 4, scale=0.3), [0.1, -0.2, 0.45, 0.3]
    plain = network(weights, bias)[0].weights
    weights[..., 2] *= np.float32(1e-20)
    found = network(weights, bias)[0].weights
    others = [0, 1, 3]
    np.testing.assert_array_equal(found.values[..., others], plain.values[..., others])
    np.testing.assert_array_equal(found.scale[others], plain.scale[others])


def test_weights_stay_in_the_narrow_range():
    weights, bias = -np.abs(numbers(3, 3, 2, 4, scale=0.3)), [0.1, -0.2, 0.45, 0.3]
    weights[..., 2] *= np.float32(1e-9)
    layer, wanted, got = network(weights, bias, export="tflite")
    assert in_narrow_range(layer.weights, weights) is layer.weights
    assert decibels(wanted, got) > 35


@settings(max_examples=12, deadline=None)
@given(data_power=st.integers(-60, 40), weight_power=st.integers(-40, 40))
def test_the_network_is_as_good_in_any_unit(data_power, weight_power):
    def build():
        x = placeholder([None, 6, 6, 2])
        y = conv(x)
        tf.identity(y * np.float32(2.0**weight_power), name="out")

    data = numbers(16, 6, 6, 2) * np.float32(2.0**data_power)
    result = calibrant.quantize(graph_def(build), data=data)
    wanted = run_once(result.original, {result.original.input_keys[0]: data})[0]
    got = run_once(result.fakequant, {result.fakequant.input_keys[0]: data})[0]
    scale = np.float32(2.0 ** -(data_power + weight_power))
    assert decibels(wanted * scale, got * scale) > 35


def test_shared_weights_hold_the_bias_of_every_layer():
    def build():
        x = placeholder([None, 6, 6, 2])
        weights = tf.constant(numbers(3, 3, 2, 4) * np.float32(1e-9))
        first = tf.nn.bias_add(tf.nn.conv2d(x, weights, 1, "SAME", name="a"), tf.constant([1.0, 2, 3, 4]))
        second = tf.nn.bias_add(tf.nn.conv2d(x * 9, weights, 1, "SAME", name="b"), tf.constant([9.0, 9, 9, 9]))
        tf.concat([first, second], -1, name="out")

    data = numbers(16, 6, 6, 2)
    result = calibrant.quantize(graph_def(build), data=data)
    a, b = result.network.layers
    assert a.weights is b.weights
    got = run_once(result.fakequant, {result.fakequant.input_keys[0]: data})[0]
    np.testing.assert_allclose(got[0, 0, 0], [1, 2, 3, 4, 9, 9, 9, 9], atol=1e-5)


def test_float16_scales_outside_its_range_are_refused_by_name():
    data = numbers(16, 6, 6, 2) * np.float32(1e-9)
    config = "fakequant_precision_mode : FORCE_FP16_QUANT"
    with pytest.raises(ConfigError, match="conv: FORCE_FP16_QUANT rounds scales to float16.*x:0"):
        calibrant.quantize(graph_def(small_network), config, data)

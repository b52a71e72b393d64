"""A scale for each output channel of the dense layers of a LiteRT file, which the configuration gives one scale."""

from __future__ import annotations

import numpy as np

from calibrant.emit.tflite.flatbuffer import File
from calibrant.graph.running.run import run_once
from graphs import conv, dense, numbers, placeholder, tf
from tflite_networks import (
    attention,
    constant_batch_product,
    contents,
    exported,
    image,
    layer_operators,
    model_of,
    steps_apart,
)

CHANNELS = {"tflite_dense_per_channel": True}


def unequal(weights, name="dense", bias=None):
    """A dense layer whose channels have different ranges."""
    y = tf.matmul(placeholder([None, weights.shape[0]]), tf.constant(weights), name=name)
    return y if bias is None else tf.nn.bias_add(y, tf.constant(bias))


def weights_of(*ranges, rows=12):
    return numbers(rows, len(ranges), seed=3) * np.float32(ranges)


def dense_operators(result):
    return [each for each in File(contents(result)[0]).operators() if each.name == "FULLY_CONNECTED"]


def noise(result, x):
    """Squared error of the file's simulation against the float network."""
    _, simulation = contents(result)
    [made] = run_once(simulation, {simulation.input_keys[0]: x}, simulation.outputs)
    [wanted] = run_once(result.original, {result.original.input_keys[0]: x}, result.original.outputs)
    return float(np.square(made - wanted).mean())


def test_channels_have_scales_of_their_own_and_small_ones_keep_their_numbers():
    definition = model_of(lambda: unequal(weights_of(1, 0.01, 0.3, 2), bias=numbers(4, seed=4)))
    plain, x = exported(definition)
    result, _ = exported(definition, **CHANNELS)
    [before], [operator] = dense_operators(plain), dense_operators(result)
    assert before.read(1).scale.size == 1
    [layer] = result.network.layers
    floats, scale = layer.float_weights, operator.read(1).scale
    assert np.allclose(scale, np.abs(floats).max(0) / 127, rtol=0.01)
    assert np.abs(operator.read(1).constant.T * scale - floats).max() <= scale.max() / 2 * 1.001
    assert np.abs(operator.read(1).constant).max() == 127
    assert np.allclose(operator.read(2).scale, float(layer.inputs[0].quantizer.scale) * scale)
    steps, _ = steps_apart(result, x)
    assert steps.max() == 0
    assert noise(result, x) < noise(plain, x)


def test_nothing_else_of_the_run_changes():
    definition = model_of(attention)
    plain, _ = exported(definition, tflite_ops="layers")
    result, _ = exported(definition, tflite_ops="layers", **CHANNELS)
    assert result.fakequant.graph_def() == plain.fakequant.graph_def()
    for one, other in zip(result.network.layers, plain.network.layers, strict=True):
        assert one.weights is None or np.array_equal(one.weights.values, other.weights.values)
    assert result.report["exports"]["tflite"]["dense_per_channel"] is True


def test_a_channel_of_zeros_keeps_its_bias():
    weights, bias = weights_of(1, 0, 0.25), np.float32([0.5, 0.75, -0.5])
    result, x = exported(model_of(lambda: unequal(weights, bias=bias)), **CHANNELS)
    steps, file = steps_apart(result, x)
    assert steps.max() == 0
    [operator] = dense_operators(result)
    assert not operator.read(1).constant[1].any()
    held = operator.read(2).constant * operator.read(2).scale
    assert abs(held[1] - 0.75) < 1e-3


def test_all_weights_zero():
    result, x = exported(model_of(lambda: unequal(weights_of(0, 0), bias=np.float32([0.5, -1]))), **CHANNELS)
    steps, _ = steps_apart(result, x)
    assert steps.max() == 0
    [operator] = dense_operators(result)
    assert np.allclose(operator.read(2).constant * operator.read(2).scale, [0.5, -1], rtol=1e-4)


def test_a_bias_too_large_for_its_channel_is_held():
    weights = weights_of(1, 1e-9, 0.5)
    result, x = exported(model_of(lambda: unequal(weights, bias=np.float32([0, 3, 0]))), **CHANNELS)
    [operator] = dense_operators(result)
    assert abs(operator.read(2).constant[1] * operator.read(2).scale[1] - 3) < 1e-3
    assert steps_apart(result, x)[0].max() == 0


def test_one_channel():
    result, x = exported(model_of(lambda: unequal(weights_of(2), bias=np.float32([1]))), **CHANNELS)
    assert steps_apart(result, x)[0].max() == 0


def test_non_uniform_weights_have_few_levels_in_every_channel():
    config = "batch_num: 4\ncommon_config { nuq_quantize { num_steps: 16 num_of_iteration: 1 } }"
    result, x = exported(model_of(lambda: unequal(weights_of(1, 0.1, 2, rows=64))), config, **CHANNELS)
    [operator] = dense_operators(result)
    assert operator.read(1).scale.size == 3
    assert len(np.unique(operator.read(1).constant)) <= 16
    assert steps_apart(result, x)[0].max() == 0


def test_layers_that_share_weights_share_them_in_the_file():
    def build():
        weights = tf.constant(weights_of(1, 0.1, *[0.5] * 10))
        y = tf.nn.relu(tf.matmul(placeholder([None, 12]), weights, name="one"))
        return tf.matmul(y, weights, name="two")

    result, x = exported(model_of(build), **CHANNELS)
    first, second = dense_operators(result)
    assert first.read(1).index == second.read(1).index
    assert first.read(1).scale.size == 12
    assert steps_apart(result, x)[0].max() == 0


def test_products_with_a_batch_and_rounded_weights():
    result, x = exported(model_of(constant_batch_product), round_weights=True, **CHANNELS)
    [operator] = layer_operators(result).values()
    assert operator.name == "FULLY_CONNECTED" and operator.read(1).scale.size == 5
    assert steps_apart(result, x)[0].max() == 0


def test_convolutions_keep_their_scale():
    def build():
        return dense(tf.reshape(conv(image(), 4, name="one"), [-1, 256]), 3)

    config = "batch_num: 4\ncommon_config { arq_quantize { channel_wise: false } }"
    result, x = exported(model_of(build), config, **CHANNELS)
    sizes = {name: operator.read(1).scale.size for name, operator in layer_operators(result).items()}
    assert sizes == {"one": 1, "dense": 3}
    assert steps_apart(result, x)[0].max() == 0


def test_biases_are_corrected_for_the_weights_that_are_used():
    definition = model_of(lambda: unequal(weights_of(1, 0.01, 0.3, 2), bias=numbers(4, seed=4)))
    result, _ = exported(definition, **CHANNELS)
    [layer] = result.network.layers
    quantized = layer.channel_weights.weights.dequantize()
    mean = np.concatenate([numbers(32, 12, seed=20 + index) for index in range(4)]).mean(0, dtype=np.float64)
    wanted = numbers(4, seed=4) + mean @ (layer.float_weights.astype(np.float64) - quantized)
    assert np.allclose(layer.channel_weights.bias, wanted, atol=1e-6)

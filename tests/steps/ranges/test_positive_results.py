import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import calibrant
from calibrant.algorithms.arithmetic import Quantizer
from calibrant.algorithms.arq import quantize_weights
from calibrant.graph.layers import find_layers
from calibrant.graph.running.run import run_once
from calibrant.steps.ranges.positive_results import least_corrections
from calibrant.steps.weights.quantize_weights import LayerWeights
from fold.sketch import Sketch
from graphs import graph_def, numbers, placeholder, tf

SPECTRA = np.exp(np.random.default_rng(0).normal(size=(64, 20, 33)) * 1.5 - 1).astype(np.float32)


def mel(reader, bias=1e-6):
    def build():
        x = placeholder([None, 20, 33], name="spec")
        weights = np.abs(numbers(33, 16, seed=2)) * (numbers(33, 16, seed=3) > 0.4)
        y = tf.matmul(tf.reshape(x, [-1, 33]), tf.constant(weights), name="mel") + tf.constant(np.full(16, bias, "f4"))
        tf.matmul(reader(y), tf.constant(numbers(16, 6, seed=5)), name="last")

    return build


def mel_bias(build, options=None):
    result = calibrant.quantize(graph_def(build), "batch_num : 4", SPECTRA, **(options or {}))
    return next(each.bias for each in result.network.layers if each.layer.name == "mel"), result


@pytest.mark.parametrize("reader", [tf.math.log, tf.sqrt, lambda y: tf.pow(y, 0.33)], ids=["log", "root", "power"])
def test_energies_stay_positive(reader):
    bias, result = mel_bias(mel(reader))
    assert bias.min() > 0
    assert np.isfinite(run_once(result.fakequant, {"spec": SPECTRA})[0]).all()


def test_a_bias_of_zero_before_a_constant_is_added_elsewhere():
    def reader(y):
        return tf.math.log(tf.reshape(y, [-1, 4, 16]) + 1e-6)

    bias, result = mel_bias(mel(lambda y: tf.reshape(reader(y), [-1, 16]), bias=0))
    assert (bias >= 0).all()
    assert np.isfinite(run_once(result.fakequant, {"spec": SPECTRA})[0]).all()


@pytest.mark.parametrize(
    "reader", [tf.nn.relu, lambda y: y / 2, lambda y: tf.sqrt(tf.square(y))], ids=["relu", "numerator", "square"]
)
def test_nothing_is_held_where_nobody_minds_negative_numbers(reader):
    assert mel_bias(mel(reader))[0].min() < 0


@pytest.mark.parametrize("bias", [0.0, 0.1])
def test_sums_that_are_far_from_zero_are_corrected_whole(bias):
    weights = np.full((64, 5), 0.0151, np.float32)
    weights[0] = 1.27
    data = np.abs(numbers(64, 64)) + np.float32(0.2)

    def build(reader):
        def inner():
            y = tf.matmul(placeholder([None, 64]), weights, name="sum") + np.full(5, bias, np.float32)
            reader(y, name="out")

        return graph_def(inner)

    held, free = (
        calibrant.quantize(build(reader), "batch_num : 1", data).network.layers[0].bias_correction
        for reader in (tf.math.log, tf.nn.relu)
    )
    assert (free < -0.1).all()
    np.testing.assert_array_equal(held, free)


@pytest.mark.parametrize("channels_first", [False, True])
def test_depthwise_sums_stay_positive_in_both_orders_of_axes(channels_first):
    kernel = np.abs(numbers(3, 3, 4, 2, seed=1))
    data = np.exp(numbers(16, 8, 8, 4) * 2).astype(np.float32)
    data[0] *= np.float32(1e-6)

    def build():
        if channels_first:
            x = placeholder([None, 4, 8, 8])
            y = tf.nn.depthwise_conv2d(x, kernel, [1] * 4, "SAME", data_format="NCHW", name="sum")
        else:
            y = tf.nn.depthwise_conv2d(placeholder([None, 8, 8, 4]), kernel, [1] * 4, "SAME", name="sum")
        tf.math.log(y, name="out")

    fed = data.transpose(0, 3, 1, 2) if channels_first else data
    result = calibrant.quantize(graph_def(build), "batch_num : 1", fed)
    assert result.network.layers[0].bias.shape == (8,)
    assert result.network.layers[0].bias.min() > 0


def test_parts_of_the_data_together_hold_what_all_of_them_hold(tmp_path):
    """The smallest results are part of a state."""
    model, config = graph_def(mel(tf.math.log)), "batch_num : 2"
    states = [tmp_path / "0.npz", tmp_path / "1.npz"]
    for path, part in zip(states, (SPECTRA[:32], SPECTRA[32:]), strict=True):
        calibrant.observe(model, config, part, path)
    merged = calibrant.merge(states, model, "batch_num : 4")
    whole = calibrant.quantize(model, "batch_num : 4", SPECTRA, refine=False)
    for one, other in zip(merged.network.layers, whole.network.layers, strict=True):
        np.testing.assert_array_equal(one.bias, other.bias)


def log_of_sums(kernel, bias):
    sketch = Sketch()
    product = sketch.node("MatMul", "sum", sketch.input(len(kernel)), sketch.constant("w", kernel))
    biased = sketch.node("BiasAdd", "biased", product, sketch.constant("offset", bias))
    graph = sketch.graph(sketch.node("Log", "out", biased))
    [layer] = find_layers(graph)[0]
    return graph, layer, LayerWeights("w", kernel, quantize_weights(kernel, 4, layer.channel_axes))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.floats(1e-4, 1e4), st.sampled_from([0.0, 1e-6, 1e-2, 10.0]))
def test_whatever_is_read_the_corrected_sums_stay_positive(seed, size, bias):
    """In whole numbers: codes times codes, and a bias in their steps."""
    random = np.random.default_rng(seed)
    kernel = np.float32(random.uniform(0, 1, (6, 3)))
    data = np.float32(random.exponential(size, (20, 6)) * random.uniform(0, 1, (20, 1)) ** 9)
    graph, layer, entry = log_of_sums(kernel, np.full(3, bias, np.float32))
    exact = data @ kernel + np.float32(bias)
    quantizer = Quantizer.from_range(0, float(data.max()))
    least = least_corrections(graph, layer, entry, exact.min(axis=0), quantizer, float(data.min()))
    step = float(quantizer.scale) * entry.quantized.scale.astype(np.float64).reshape(-1)
    codes = (quantizer.quantize(data).astype(np.int64) - quantizer.offset) @ entry.quantized.values.astype(np.int64)
    sums = codes + np.rint((np.float32(bias) + least) / step)
    assert (sums >= 0).all()
    assert (sums[:, exact.min(axis=0) > 0] > 0).all()


def test_with_16_bits_a_step_is_that_of_16_bits():
    kernel = np.abs(numbers(8, 2, seed=3))
    graph, layer, entry = log_of_sums(kernel, np.zeros(2, np.float32))
    quantizer = Quantizer.from_range(0, 2.55, 16, asymmetric=False)
    least = least_corrections(graph, layer, entry, np.float32([1e-9, 0]), quantizer, 0.0)
    step = float(entry.quantized.scale[0]) * 2.55 / 32639
    np.testing.assert_allclose(least, [step, 0], rtol=0.01, atol=1e-12)


def test_sums_of_both_signs_are_held_only_where_rounding_leaves_them_positive():
    kernel = numbers(8, 2, seed=3)
    graph, layer, entry = log_of_sums(kernel, np.zeros(2, np.float32))
    quantizer = Quantizer.from_range(0, 2.55)
    noise = np.abs(kernel.astype(np.float64)).sum(axis=0) * 0.005
    minimum = np.float32([5, noise[1] / 2])
    least = least_corrections(graph, layer, entry, minimum, quantizer, 0.0)
    np.testing.assert_allclose(least, [-(5 - noise[0]) / 2, -np.inf], rtol=1e-5)

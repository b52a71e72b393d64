"""Layers of the simulation add up codes: the same codes as the file's kernels, exact whatever the size of the sums."""

from __future__ import annotations

import functools
import platform

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tflite_networks import contents, definition, exported, image, steps_apart

from calibrant.emit.tflite import integer_layers
from calibrant.emit.tflite.converter_graph import tensor_factors
from calibrant.emit.tflite.integer_layers import EXACT_IN_FLOAT32, largest_sum, multiplier
from calibrant.emit.tflite.model import part_of
from graphs import conv, dense, graph_def, placeholder, tf

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the formulas are those of x86 kernels")
EQUAL = [
    *("conv", "depthwise", "depthwise, multiplier 2", "transposed", "constant batch product", "attention"),
    *("dilated", "softmax", "token", "clipped"),
]


def with_relu6():
    y = tf.nn.relu6(conv(image(), name="one") * 3.0)
    return conv(y, name="two", seed=4)


def with_large_sums():
    """A bound of about 4000 * 127 * 255, eight times what float32 counts to."""
    weights = np.sign(np.sin(np.arange(4000 * 6))).reshape(4000, 6).astype(np.float32)
    return tf.matmul(placeholder([None, 4000]), tf.constant(weights), name="large")


def dtypes_of(graph, op):
    return {tf.as_dtype(node.attr["T"].type).name for node in graph.nodes.values() if node.op == op}


@pytest.mark.parametrize("name", EQUAL)
def test_layers_have_the_codes_of_the_file(name):
    apart, _ = steps_apart(*exported(definition(name), count=64))
    assert apart.max() < 0.01


@pytest.mark.parametrize("name", [*EQUAL, "residual"])
def test_sums_in_float64_are_the_same(name, monkeypatch):
    narrow, x = exported(definition(name), count=8)
    monkeypatch.setattr(integer_layers, "EXACT_IN_FLOAT32", 0)
    wide, _ = exported(definition(name), count=8)
    assert contents(narrow)[0] == contents(wide)[0]
    apart, _ = steps_apart(wide, x)
    assert apart.max() < 0.01
    dtypes = {kind for op in ("Conv2D", "MatMul", "BatchMatMulV2") for kind in dtypes_of(contents(wide)[1], op)}
    assert dtypes <= {"float64"}


def test_sums_that_float32_cannot_count_are_in_float64():
    result, x = exported(graph_def(lambda: tf.identity(with_large_sums(), name="out")))
    [layer] = result.network.layers
    assert largest_sum(result.network.graph, layer, [layer.inputs[0].quantizer]) > EXACT_IN_FLOAT32
    assert dtypes_of(contents(result)[1], "MatMul") == {"float64"}
    apart, _ = steps_apart(result, x)
    assert apart.max() < 0.01


def test_other_sums_stay_in_float32():
    assert dtypes_of(contents(exported(definition("conv"))[0])[1], "Conv2D") == {"float32"}


def test_relu6_ends_at_the_code_of_six():
    result, x = exported(graph_def(lambda: tf.identity(with_relu6(), name="out")))
    simulation = contents(result)[1]
    assert not [node for node in simulation.nodes.values() if node.op == "Relu6"]
    apart, _ = steps_apart(result, x)
    assert apart.max() < 0.01


def test_scales_are_multiplied_and_then_divided_in_float32():
    result, _ = exported(definition("conv"))
    [layer] = result.network.layers
    *_, made = tensor_factors(result.network, part_of(result.network)).values()
    given = layer.inputs[0].quantizer
    assert made.scale != given.scale
    expected = [np.float32(np.float32(given.scale * scale) / made.scale) for scale in layer.weights.scale]
    assert multiplier(result.network.graph, layer, [given], made).tolist() == expected


OUTPUT_AXES = {"Conv2D": 1, "DepthwiseConv2dNative": 2, "MatMul": 1}


@functools.cache
def layers_of(name):
    network = exported(definition(name))[0].network
    return network.graph, network.layers


@given(st.integers(0, 2**32 - 1), st.sampled_from(["conv", "depthwise, multiplier 2", "softmax"]), st.booleans())
@settings(max_examples=50, deadline=None)
def test_no_partial_sum_is_beyond_the_bound(seed, name, aligned):
    random = np.random.default_rng(seed)
    graph, layers = layers_of(name)
    for layer in layers:
        quantizer = layer.inputs[0].quantizer
        shape, axes = layer.weights.values.shape, OUTPUT_AXES[layer.layer.type]
        codes = layer.weights.values.reshape(int(np.prod(shape[:-axes])), -1).astype(np.int64)
        channel = int(random.integers(codes.shape[1]))
        values = random.choice([quantizer.lowest, quantizer.highest], len(codes)) - quantizer.offset
        if aligned:
            ends = (quantizer.lowest - quantizer.offset, quantizer.highest - quantizer.offset)
            values = np.where(codes[:, channel] < 0, *ends)
        bias = layer.integer_bias()[channel] if layer.bias is not None else 0
        sums = bias + np.cumsum(random.permutation(values * codes[:, channel]))
        assert np.abs(sums).max() <= largest_sum(graph, layer, [quantizer])


def test_a_bias_counts_towards_the_bound():
    def build():
        y = tf.nn.bias_add(dense(placeholder([None, 8]), 4, "small"), [1e4, 0.0, 0.0, 0.0])
        tf.identity(y, name="out")

    result, x = exported(graph_def(build))
    [layer] = result.network.layers
    assert largest_sum(result.network.graph, layer, [layer.inputs[0].quantizer]) > 1e4 / layer.bias_scale().max()
    apart, _ = steps_apart(result, x)
    assert apart.max() < 0.01

"""Layers of the simulation add up codes: the same codes as the file's kernels, exact whatever the size of the sums."""

from __future__ import annotations

import functools
import platform

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrant.algorithms.sqnr import arrays_sqnr_db
from calibrant.emit.tflite.simulation import layers as simulated_layers
from calibrant.emit.tflite.simulation.layers import EXACT_IN_FLOAT32, bias_of, largest_sum, multiplier
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import conv, dense, graph_def, numbers, placeholder, tf
from tflite_networks import (
    NETWORKS,
    computed,
    contents,
    definition,
    exported,
    image,
    layer_operators,
    one_of_two_equal_layers,
    steps_apart,
)

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the formulas are those of x86 kernels")
EQUAL = [
    *("conv", "depthwise", "depthwise, multiplier 2", "transposed", "constant batch product", "attention"),
    *("dilated", "softmax", "token", "clipped"),
]


def with_relu6():
    y = tf.nn.relu6(conv(image(), name="one") * 3.0)
    return conv(y, name="two", seed=4)


def transposed_with(activation):
    """The converter only fuses it where there is a bias."""
    return activation(NETWORKS["transposed"]())


def with_large_sums():
    """A bound of about 4000 * 127 * 255, eight times what float32 counts to."""
    weights = np.sign(np.sin(np.arange(4000 * 6))).reshape(4000, 6).astype(np.float32)
    return tf.matmul(placeholder([None, 4000]), tf.constant(weights), name="large")


def bound_of(operator):
    axis = 3 if operator.name == "DEPTHWISE_CONV_2D" else 0
    return largest_sum(operator.inputs[0], operator.inputs[1], axis, bias_of(operator))


def dtypes_of(graph, op):
    return {tf.as_dtype(node.attr["T"].type).name for node in graph.nodes.values() if node.op == op}


@pytest.mark.parametrize("name", EQUAL)
def test_layers_have_the_codes_of_the_file(name):
    apart, _ = steps_apart(*exported(definition(name), count=64))
    assert apart.max() < 0.01


@pytest.mark.parametrize("name", [*EQUAL, "residual"])
def test_sums_in_float64_are_the_same(name, monkeypatch):
    narrow, x = exported(definition(name), count=8)
    monkeypatch.setattr(simulated_layers, "EXACT_IN_FLOAT32", 0)
    wide, _ = exported(definition(name), count=8)
    assert contents(narrow)[0] == contents(wide)[0]
    apart, _ = steps_apart(wide, x)
    assert apart.max() < 0.01
    dtypes = {kind for op in ("Conv2D", "MatMul", "BatchMatMulV2") for kind in dtypes_of(contents(wide)[1], op)}
    assert dtypes <= {"float64"}


def test_sums_that_float32_cannot_count_are_in_float64():
    result, x = exported(graph_def(lambda: tf.identity(with_large_sums(), name="out")))
    [operator] = layer_operators(result).values()
    assert bound_of(operator) > EXACT_IN_FLOAT32
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


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (functools.partial(transposed_with, tf.nn.relu), "RELU"),
        (functools.partial(transposed_with, tf.nn.relu6), "RELU6"),
        (one_of_two_equal_layers, "RELU"),
    ],
    ids=["transposed, relu", "transposed, relu6", "one of two"],
)
def test_an_activation_that_the_converter_does_not_fuse(build, name):
    model = graph_def(lambda: tf.identity(build(), name="out"))
    result, x = exported(model)
    apart, file = steps_apart(result, x)
    assert apart.max() < 0.01
    assert result.export_notes["tflite"]["operators_in_float"] == []
    assert name in [operator.name for operator in file.operators()]
    [made], _, _ = computed(result, x)
    [wanted] = run_once(load(model), {"x": x})
    assert arrays_sqnr_db(wanted, made) > 30


def test_scales_are_multiplied_and_then_divided_in_float32():
    result, _ = exported(definition("conv"))
    [layer], [operator] = result.network.layers, layer_operators(result).values()
    read, made = layer.inputs[0].quantizer, operator.outputs[0].scale[0]
    assert made != read.scale
    expected = [np.float32(np.float32(read.scale * scale) / made) for scale in layer.weights.scale]
    assert multiplier(operator.inputs[0], operator.inputs[1], operator.outputs[0]).tolist() == expected


OUTPUT_AXES = {"Conv2D": 1, "DepthwiseConv2dNative": 2, "MatMul": 1}


@functools.cache
def layers_of(name):
    result = exported(definition(name))[0]
    return result.network.layers, layer_operators(result)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["conv", "depthwise, multiplier 2", "softmax"]), st.booleans())
@settings(max_examples=50, deadline=None)
def test_no_partial_sum_is_beyond_the_bound(seed, name, aligned):
    random = np.random.default_rng(seed)
    layers, operators = layers_of(name)
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
        assert np.abs(sums).max() <= bound_of(operators[layer.layer.name])


def test_a_bias_counts_towards_the_bound():
    def build():
        y = tf.nn.bias_add(dense(placeholder([None, 8]), 4, "small"), [1e4, 0.0, 0.0, 0.0])
        tf.identity(y, name="out")

    result, x = exported(graph_def(build))
    [layer], [operator] = result.network.layers, layer_operators(result).values()
    assert bound_of(operator) > 1e4 / layer.bias_scale().max()
    apart, _ = steps_apart(result, x)
    assert apart.max() < 0.01


def product_with_bias(rank):
    """Of two activations, with a bias that no kernel adds."""
    x = placeholder([2, 4, 8][3 - rank :])
    left, right = (dense(x, 8, name, seed=seed) for name, seed in (("left", 1), ("right", 2)))
    product = tf.matmul(left, right, transpose_b=True, name="product")
    tf.nn.elu(tf.nn.bias_add(product, tf.constant(numbers(4, seed=3))), name="out")


@pytest.mark.parametrize("rank", [2, 3])
def test_a_product_of_activations_is_on_integers_with_a_bias_behind_it(rank):
    result, x = exported(graph_def(lambda: product_with_bias(rank)))
    notes = result.export_notes["tflite"]
    assert notes["operators_in_float"] == []
    assert notes["on_integers"]["layers_in_float"] == []
    assert steps_apart(result, x)[0].max() <= 1


def test_the_bias_of_a_product_that_is_left_in_float_is_too():
    result, _ = exported(graph_def(lambda: product_with_bias(3)), 'batch_num: 4 skip_layers: "product"')
    assert {entry["operator"] for entry in result.export_notes["tflite"]["operators_in_float"]} >= {"ADD"}

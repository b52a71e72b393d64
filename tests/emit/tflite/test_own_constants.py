"""Scales and shifts of channels in front of several dense layers stay what they are, and those layers' weights too."""

import numpy as np
import pytest

from calibrant.algorithms.sqnr import arrays_sqnr_db
from calibrant.emit.tflite.conversion.float_file import float_file
from calibrant.emit.tflite.flatbuffer import File
from calibrant.emit.tflite.planning.own_constants import has_own_constants
from calibrant.emit.tflite.settings import TfliteSettings
from calibrant.graph.builder import NodeBuilder
from calibrant.graph.layers import find_layers
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import conv, graph_def, numbers, placeholder, tf
from tflite_networks import computed, exported

GAIN = (np.abs(numbers(8, seed=5)) + 0.3).astype(np.float32)
SHIFT = numbers(8, seed=6)


def heads(y):
    """Three dense layers with biases that read the same."""
    return tf.add_n([tf.tanh(layer(y, f"layer{place}", place)) for place in range(3)], name="out")


def layer(y, name, seed):
    weights, bias = numbers(8, 8, seed=seed, scale=0.3), numbers(8, seed=seed + 10)
    product = tf.matmul(y, weights) if y.shape.rank == 2 else tf.tensordot(y, weights, 1)
    return tf.nn.bias_add(product, bias, name=name)


def scaled(x):
    return tf.tanh(x) * GAIN + SHIFT


def one_norm():
    return heads(scaled(placeholder([1, 6, 8])))


def only_a_gain():
    return heads(tf.tanh(placeholder([1, 6, 8])) * GAIN)


def only_a_shift():
    return heads(tf.tanh(placeholder([1, 6, 8])) + SHIFT)


def one_norm_written_three_times():
    x = placeholder([None, 8])
    norms = [scaled(x) for _ in range(3)]
    return tf.add_n([tf.tanh(layer(y, f"layer{place}", place)) + 0.1 * y for place, y in enumerate(norms)], name="out")


NETWORKS = [one_norm, only_a_gain, only_a_shift, one_norm_written_three_times]


def sqnr_and_file(build):
    result, x = exported(graph_def(build))
    made, simulated, names = computed(result, x)
    np.testing.assert_allclose(made[0].reshape(simulated[0].shape), simulated[0], atol=0.05)
    assert "FULLY_CONNECTED" in names
    [wanted] = run_once(result.network.graph, {"x": x})
    content = next(value for name, value in result.exported.items() if name.endswith("_int8.tflite"))
    return arrays_sqnr_db(wanted, made[0].reshape(wanted.shape)), File(content), result


@pytest.mark.parametrize("build", NETWORKS)
def test_layers_that_read_alike_keep_their_weights(build):
    decibels, file, _ = sqnr_and_file(build)
    assert decibels > 25
    assert [o.is_integer for o in file.operators() if o.name == "FULLY_CONNECTED"] == [True] * 3


@pytest.mark.parametrize("build", NETWORKS)
def test_a_layer_that_the_converter_worked_something_into_is_in_float(build, monkeypatch):
    """As it does where it takes equal marks for one."""
    add = NodeBuilder.add
    monkeypatch.setattr(
        NodeBuilder, "add", lambda self, op, name, inputs, _number=None, **others: add(self, op, name, inputs, **others)
    )
    decibels, file, result = sqnr_and_file(build)
    assert decibels > 25
    assert {o.is_integer for o in file.operators() if o.name == "FULLY_CONNECTED"} == {True, False}
    [reason] = {entry["reason"] for entry in result.export_notes["tflite"]["operators_in_float"][:1]}
    assert reason == "the converter has worked other numbers into its weights or bias"


@pytest.mark.parametrize("changed", ["layer/weights", "layer/bias"])
def test_other_weights_or_another_bias(changed):
    def build():
        x = placeholder([None, 6, 6, 4])
        bias = tf.constant(numbers(5, seed=2), name="layer/bias")
        weights = tf.constant(numbers(3, 3, 4, 5, seed=1), name="layer/weights")
        tf.nn.bias_add(tf.nn.conv2d(x, weights, 1, "SAME", name="layer"), bias, name="out")

    graph = load(graph_def(build))
    [found] = find_layers(graph)[0]
    [operator] = [each for each in float_file(graph, [found], (), TfliteSettings()).file.operators() if each.inputs[1:]]
    assert has_own_constants(operator, graph, found)
    edit = graph.edit()
    reader, index = graph.consumers(f"{changed}:0")[0]
    other = edit.add_constant("other", 1.01 * graph.constant(f"{changed}:0"))
    edit.set_input(reader.name, index, other)
    assert not has_own_constants(operator, edit.finish(), found)


def test_a_layer_without_a_bias():
    graph = load(graph_def(lambda: conv(placeholder([None, 6, 6, 4]), name="out")))
    [found] = find_layers(graph)[0]
    [operator] = [each for each in float_file(graph, [found], (), TfliteSettings()).file.operators() if each.inputs[1:]]
    assert has_own_constants(operator, graph, found)

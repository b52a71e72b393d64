"""What LiteRT would put on integers by itself stays in float where the configuration has no factors for it."""

from __future__ import annotations

import numpy as np
import pytest
from tflite_networks import exported, image, steps_apart

from graphs import conv, graph_def, tf

OPERATIONS = {
    "TANH": tf.tanh,
    "LOGISTIC": tf.sigmoid,
    "SOFTMAX": tf.nn.softmax,
    "MEAN": lambda t: t - tf.reduce_mean(t, -1, keepdims=True),
    "MINIMUM": lambda t: tf.clip_by_value(t, -0.5, 0.7),
    "LEAKY_RELU": tf.nn.leaky_relu,
}


@pytest.mark.parametrize("reader", ["layer and float", "float"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_behind_a_layer_with_readers_in_float(name, reader):
    def build():
        y = conv(image(), name="one")
        z = OPERATIONS[name](y)
        other = conv(z, name="two", seed=4) if reader == "layer and float" else y
        tf.identity(conv(tf.cos(z) + other, name="three", seed=6), name="out")

    result, x = exported(graph_def(build))
    apart, file = steps_apart(result, x)
    assert np.mean(apart <= 0.01) >= 0.999
    assert not any(operator.is_integer for operator in file.operators() if operator.name == name)


@pytest.mark.parametrize("io", ["float32", "int8"])
@pytest.mark.parametrize("gate", [tf.sigmoid, tf.nn.softmax, tf.tanh], ids=["sigmoid", "softmax", "tanh"])
def test_a_product_with_an_operation_whose_range_litert_knows(gate, io):
    """As in a squeeze-and-excitation block: LiteRT would round the gate to a range of its own."""

    def build():
        y = conv(image(), name="one")
        tf.identity(conv(y * gate(y * 1.5), name="two", seed=6), name="out")

    result, x = exported(graph_def(build), tflite_io=io)
    apart, file = steps_apart(result, x)
    assert np.mean(apart <= 0.01) >= 0.999
    assert not any(operator.is_integer for operator in file.operators() if operator.name == "MUL")


def test_a_product_of_two_layers_is_in_float():
    def build():
        x = image()
        tf.identity(conv(conv(x, name="one") * conv(x, name="two", seed=3), name="three", seed=6), name="out")

    result, x = exported(graph_def(build))
    apart, file = steps_apart(result, x)
    assert np.mean(apart <= 0.01) >= 0.999
    assert [operator.is_integer for operator in file.operators() if operator.name == "MUL"] == [False]

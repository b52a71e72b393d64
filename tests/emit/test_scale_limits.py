"""Scales that a format cannot hold are refused by name; those that it can are there, however small."""

import numpy as np
import pytest

import calibrant
from calibrant.errors import ModelError
from graphs import conv, dense, graph_def, numbers, placeholder, tf

DATA = numbers(16, 6, 6, 2)


def in_units(data_unit, weight_unit, export):
    def build():
        tf.identity(conv(placeholder([None, 6, 6, 2])) * np.float32(weight_unit), name="out")

    return calibrant.quantize(graph_def(build), data=DATA * np.float32(data_unit), export=export)


@pytest.mark.parametrize("weight_unit", [1e-9, 1e-20])
def test_tiny_weights_go_into_a_litert_file(weight_unit):
    assert "model_int8.tflite" in in_units(1 / weight_unit, weight_unit, "tflite").exported


def test_tiny_activations_go_into_a_litert_file():
    assert "model_int8.tflite" in in_units(1e-20, 1, "tflite").exported


def test_what_an_ascend_file_cannot_hold():
    with pytest.raises(ModelError, match=r"conv: scale_d \* scale_w is .*e-4"):
        in_units(1e-22, 1e-22, "ascend")


def floats_of(build):
    """Operators in float, with their reasons."""
    result = calibrant.quantize(graph_def(build), data=DATA, export="tflite")
    return {entry["tensor"]: entry["reason"] for entry in result.export_notes["tflite"]["operators_in_float"]}


def test_products_that_the_default_kernels_do_not_run_are_in_float():
    def build():
        y = tf.nn.relu6(conv(placeholder([None, 6, 6, 2])) * np.float32(1e6))
        tf.identity(dense(tf.reshape(y, [-1, 144])), name="out")

    assert "too far apart for its kernel" in next(iter(floats_of(build).values()))


def test_sums_that_the_kernel_does_not_run_are_in_float():
    def build():
        x = placeholder([None, 6, 6, 2])
        large = tf.nn.relu(conv(x, 2, name="a") * np.float32(1e7))
        total = tf.add(large, tf.nn.relu(conv(x, 2, name="b")), name="sum")
        tf.identity(conv(tf.nn.relu6(total), name="c"), name="out")

    assert any("too far apart for the kernel of ADD" in reason for reason in floats_of(build).values())

"""A model that has been quantized before."""

from __future__ import annotations

import pytest

from calibrant import quantize
from calibrant.graph.load import load
from calibrant.report.quantized_before import quantized_before_warnings
from graphs import conv, dense, graph_def, numbers, placeholder, small_network, tf


def warned(result):
    return [text for text in result.report["warnings"] if "seems to have been quantized" in text]


@pytest.mark.parametrize(("file", "rounded"), [("fakequant", 3), ("quantized", 3), ("int8_fakequant", 2)])
def test_a_result_given_as_a_model_is_told(file, rounded, tmp_path):
    data = numbers(32, *load(graph_def(small_network)).shape("x:0")[1:])
    first = quantize(graph_def(small_network), data=data, export=("ascend", "tflite"), out=tmp_path)
    assert not warned(first)
    (text,) = warned(quantize(tmp_path / f"model_{file}.pb", data=data))
    assert f"{rounded} of the 3 tensors that layers read are rounded already" in text


def test_a_network_that_rounds_its_own_input_is_not():
    def build():
        y = conv(tf.round(placeholder([None, 6, 6, 3]) * 255.0) / 255.0)
        tf.identity(dense(tf.reshape(conv(y, name="second"), [-1, 144])), name="out")

    assert not warned(quantize(graph_def(build), data=numbers(32, 6, 6, 3)))


def test_one_rounding_that_several_layers_read_is_not():
    def build():
        x = tf.round(placeholder([None, 6, 6, 3]) * 255.0) / 255.0
        pooled = tf.nn.max_pool2d(x, 3, 1, "SAME")
        y = conv(x) + conv(x * 2.0 - 1.0, name="second") + conv(pooled, name="third")
        tf.identity(y, name="out")

    assert not warned(quantize(graph_def(build), data=numbers(32, 6, 6, 3)))


def test_rounding_that_weights_are_multiplied_with_is_not_that_of_the_layer():
    def build():
        x = placeholder([None, 6])
        tf.identity(dense(tf.nn.relu(tf.round(x))), name="out")

    graph = load(graph_def(build))
    assert not quantized_before_warnings(graph, ["x:0", "Relu:0"])

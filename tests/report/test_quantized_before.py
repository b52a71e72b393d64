"""A model that has been quantized before."""

from __future__ import annotations

import pytest

from calibrant import quantize
from calibrant.graph.reading.load import load
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


def twice(step):
    """Two layers, each with a step in front."""

    def build():
        hidden = dense(step(placeholder([None, 6])), 8, seed=1)
        tf.identity(dense(step(hidden), 8, seed=2), name="out")

    return quantize(graph_def(build), data=numbers(32, 6), refine=False)


ROUNDINGS = {
    "rounded": lambda t: tf.round(t * 32.0) / 32.0,
    "as C does": lambda t: tf.clip_by_value(tf.floor(t * 32.0 + 0.5), -128.0, 127.0) / 32.0,
    "as integers": lambda t: tf.cast(tf.cast(tf.round(t * 32.0), tf.int8), tf.float32) / 32.0,
    "ranges in the graph": lambda t: tf.quantization.fake_quant_with_min_max_args(t, -4.0, 4.0),
    "in one operation": lambda t: tf.quantization.quantize_and_dequantize_v2(t, -4.0, 4.0, range_given=True),
    "two of them": lambda t: tf.round(t * 32.0) / 32.0 + tf.floor(t) * 2.0,
}
"""Of everything that a layer reads."""
OTHERS = {
    "what rounding leaves": lambda t: t - tf.round(t),
    "a gate": lambda t: t * tf.round(tf.sigmoid(t)),
    "a term": lambda t: t + tf.round(t),
}


@pytest.mark.parametrize("name", ROUNDINGS)
def test_every_way_of_rounding_is_seen(name):
    assert warned(twice(ROUNDINGS[name]))


@pytest.mark.parametrize("name", OTHERS)
def test_what_has_a_part_that_is_not_rounded_is_not(name):
    assert not warned(twice(OTHERS[name]))


def test_networks_that_round_what_they_are_fed_are_not():
    def build():
        first, second = (tf.round(placeholder([None, 6], name)) for name in ("a", "b"))
        tf.identity(dense(first) + dense(second, seed=1), name="out")

    assert not warned(quantize(graph_def(build), data={"a": numbers(32, 6), "b": numbers(32, 6, seed=1)}))


def test_rounding_that_weights_are_multiplied_with_is_not_that_of_the_layer():
    def build():
        x = placeholder([None, 6])
        tf.identity(dense(tf.nn.relu(tf.round(x))), name="out")

    graph = load(graph_def(build))
    assert not quantized_before_warnings(graph, ["x:0", "Relu:0"])

"""Keras' softmax over several axes, without what asks whether its largest numbers are finite."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from plain_graphs import check_numbers, last_op, ops

import calibrant
from calibrant.graph.reading.load import load
from calibrant.steps.plain.log_sums import with_plain_log_sums
from graphs import conv, graph_def, numbers, placeholder, tf


def over_two(x):
    return tf.exp(x - tf.reduce_logsumexp(x, [1, 2], keepdims=True))


def other_maximum(x):
    """The same operations, but the maximum is that of other numbers."""
    largest = tf.reduce_max(2 * x, [1, 2], keepdims=True)
    finite = tf.where(tf.math.is_finite(largest), largest, tf.zeros_like(largest))
    return tf.exp(x - (tf.math.log(tf.reduce_sum(tf.exp(x - finite), [1, 2], True)) + finite))


def built(write):
    return load(graph_def(lambda: tf.identity(write(placeholder((None, 5, 6)) * 3), name="out")))


@pytest.mark.parametrize("write", [over_two, keras.layers.Softmax(axis=(1, 2))], ids=["by hand", "Keras"])
def test_nothing_asks_for_finite_numbers(write):
    graph = built(write)
    plain = with_plain_log_sums(graph)
    assert last_op(plain, graph) == "Exp" and not {"IsFinite", "SelectV2"} & ops(plain)
    check_numbers(plain, graph, numbers(2, 5, 6, seed=5), rtol=0, atol=0)
    masked = np.where(numbers(2, 5, 6) > 0, -np.inf, numbers(2, 5, 6)).astype(np.float32)
    check_numbers(plain, graph, masked, rtol=0, atol=0)
    check_numbers(plain, graph, np.full((2, 5, 6), -np.inf, np.float32), rtol=0, atol=0)


@pytest.mark.parametrize("write", [other_maximum, lambda x: tf.reduce_logsumexp(x, 1)], ids=["other", "a sum alone"])
def test_others_stay(write):
    graph = built(write)
    assert with_plain_log_sums(graph) is graph


def test_a_softmax_over_a_map_is_on_integers():
    def network():
        x = keras.layers.Softmax(axis=(1, 2))(conv(placeholder((None, 6, 6, 3)), name="scores"))
        conv(x, name="out", seed=4)

    result = calibrant.quantize(graph_def(network), None, numbers(32, 6, 6, 3, seed=1), export="tflite")
    assert result.report["exports"]["tflite"]["operators_in_float"] == []

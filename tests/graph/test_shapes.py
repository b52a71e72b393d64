"""Shapes that TensorFlow does not follow by itself."""

from __future__ import annotations

from calibrant.graph.reading.load import load
from graphs import graph_def, numbers, placeholder, tf


def test_sizes_gathered_out_of_a_shape_are_known():
    def build():
        y = tf.tensordot(placeholder([None, 5, 7, 4]), tf.constant(numbers(4, 6)), [[3], [0]])
        tf.identity(y, name="out")

    graph = load(graph_def(build))
    assert graph.shape(graph.outputs[0]) == (None, 5, 7, 6)
    assert {tensor.partition(":")[0] for tensor in graph.tensors} == set(graph.nodes)


def test_sizes_chosen_by_data_stay_open():
    def build():
        chosen = tf.compat.v1.placeholder(tf.int32, [2], "chosen")
        x = placeholder([3, 5, 7])
        tf.reshape(x, tf.concat([tf.gather(tf.shape(x), chosen), [-1]], 0), name="out")

    graph = load(graph_def(build))
    assert graph.shape(graph.outputs[0]) == (None, None, None)

"""Inputs whose number of axes a model does not say."""

from __future__ import annotations

import pytest

from calibrant import quantize
from calibrant.data.input_spec import InputSpec
from calibrant.data.open_data import open_data
from calibrant.graph.reading.load import load
from calibrant.steps.data_shapes import with_data_shapes
from graphs import conv, dense, graph_def, numbers, tf, v1


def after_a_queue():
    queue = v1.FIFOQueue(8, [tf.float32], shapes=[[6, 6, 3]])
    batch = tf.identity(queue.dequeue_many(4), "batch")
    tf.identity(dense(tf.reduce_mean(tf.nn.relu(conv(batch)), [1, 2]), 2), "out")


def test_a_model_that_is_cut_after_a_queue_becomes_a_file(tmp_path):
    data = numbers(32, 6, 6, 3)
    found = quantize(graph_def(after_a_queue), None, data, tmp_path, inputs=["batch"], outputs=["out"], export="tflite")
    assert found.original.shape("batch:0") == (None, 6, 6, 3)
    assert list(tmp_path.glob("*.tflite"))
    totals = found.report["totals"]
    assert totals["products_not_counted"] == [] and totals["multiply_accumulates"] == 36 * 27 * 4 + 4 * 2


@pytest.mark.parametrize("shape", [(None, 6, 6, 5), (None, 6)])
def test_a_shape_that_does_not_fit_the_model_is_left_to_the_run(shape):
    graph = load(graph_def(after_a_queue), inputs=["batch"], outputs=["out"])
    assert with_data_shapes(graph, [InputSpec("batch", shape, "float32")]) is graph


def test_a_shape_that_the_model_says_stays():
    graph = load(graph_def(lambda: tf.identity(conv(v1.placeholder(tf.float32, [None, None, 6, 3], "x")), "out")))
    assert with_data_shapes(graph, open_data(numbers(4, 6, 6, 3), [InputSpec("x", None, "float32")]).inputs) is graph

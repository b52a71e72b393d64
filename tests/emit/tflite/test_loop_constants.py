"""Operations in loops of TensorFlow 1.x that are written otherwise: their constants belong to a turn of the loop."""

import numpy as np
import pytest

from calibrant.emit.tflite.conversion.float_graph import float_graph
from calibrant.emit.tflite.settings import TfliteSettings
from calibrant.graph.reading.load import load
from graphs import graph_def, numbers, placeholder, tf, v1


def selected(row):
    boxes = tf.concat([row[:, :2], row[:, :2] + 1.0], 1)
    places = tf.image.non_max_suppression(boxes, tf.reduce_max(row, 1), 5, 0.5)
    filled = tf.concat([places, tf.zeros([5 - tf.shape(places)[0]], tf.int32)], 0)
    return tf.reshape(tf.gather(boxes, filled), [5, 4])


def in_a_loop(body):
    """x [?, 8, 4] -> the body for each sample, in a loop of nodes -> y."""

    def build():
        v1.disable_control_flow_v2()
        try:
            tf.identity(v1.map_fn(body, placeholder([None, 8, 4])), name="y")
        finally:
            v1.enable_control_flow_v2()

    return load(graph_def(build), outputs=["y"])


@pytest.mark.parametrize("body", [selected, tf.math.erf, lambda row: tf.roll(row, [1, 2], [0, 1])])
def test_what_is_written_otherwise_in_a_loop_still_runs(body):
    graph, fed = in_a_loop(body), numbers(3, 8, 4)
    made, _ = float_graph(graph, TfliteSettings(batch=3), False)
    results = []
    for each in (graph, made):
        with tf.Graph().as_default() as whole:
            tf.import_graph_def(each.graph_def(), name="")
            with v1.Session(graph=whole) as session:
                results.append(session.run("y:0", {"x:0": fed}))
    assert any(node.op == "Enter" for node in made.nodes.values())
    assert np.allclose(*results, atol=1e-6)

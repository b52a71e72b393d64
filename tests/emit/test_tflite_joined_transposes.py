"""Windows that are put together and cut into a grid in LiteRT files: two transpositions with reshapes between."""

from __future__ import annotations

import numpy as np
from tflite_networks import exported, steps_apart

from calibrant.emit.tflite.convert import convert
from calibrant.emit.tflite.float_graph import float_graph
from calibrant.emit.tflite.settings import TfliteSettings
from calibrant.evaluation.tflite_runner import TfliteRunner
from calibrant.graph.load import load
from calibrant.graph.run import run_once
from graphs import dense, graph_def, numbers, placeholder, tf


def grid_of_windows(y):
    windows = tf.transpose(tf.reshape(y, [-1, 4, 4, 4, 4, 3]), [0, 1, 3, 2, 4, 5])
    image = tf.reshape(windows, [-1, 16, 16, 3])
    return tf.reshape(tf.transpose(tf.reshape(image, [-1, 4, 4, 4, 4, 3]), [0, 2, 4, 1, 3, 5]), [-1, 16, 16, 3])


def network():
    y = grid_of_windows(placeholder([None, 16, 16, 3]) * 2.0)
    tf.identity(dense(tf.reshape(tf.reduce_max(y, 2), [-1, 48])), name="out")


def test_the_file_has_the_numbers_of_the_graph():
    graph = load(graph_def(network))
    made, _ = float_graph(graph, TfliteSettings(), gelus=True)
    assert sum(node.op == "Transpose" for node in made.nodes.values()) == 1
    x = numbers(1, 16, 16, 3)
    runner = TfliteRunner(convert(made))
    runner.run({0: x})
    found = runner.codes(runner.file.outputs()[0])
    np.testing.assert_allclose(found, run_once(graph, {"x": x})[0], rtol=1e-4, atol=1e-4)


def test_they_are_on_integers():
    result, x = exported(graph_def(network))
    apart, file = steps_apart(result, x)
    assert all(each.is_integer for each in file.operators() if each.name in ("TRANSPOSE", "REDUCE_MAX", "MUL"))
    assert apart.max() <= 1.001

"""Windows that are put together and cut into a grid in LiteRT files: two transpositions with reshapes between."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant.algorithms.sqnr import arrays_sqnr_db
from calibrant.emit.tflite.conversion.convert import convert
from calibrant.emit.tflite.conversion.float_file import float_file
from calibrant.emit.tflite.conversion.float_graph import float_graph
from calibrant.emit.tflite.conversion.name_check import OtherNumbersError, without_wrong_names
from calibrant.emit.tflite.settings import TfliteSettings
from calibrant.evaluation.tflite_runner import TfliteRunner
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import dense, graph_def, numbers, placeholder, tf
from tflite_networks import contents, exported, steps_apart


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


def between_transpositions(build):
    def network():
        y = tf.transpose(tf.sin(placeholder([None, 4, 3, 4])), [0, 2, 1, 3])
        y = tf.reshape(tf.reshape(build(y), [-1, 12, 4]), [-1, 3, 4, 4])
        weights = tf.constant(numbers(48, 5, seed=7))
        tf.identity(tf.matmul(tf.reshape(tf.cos(tf.transpose(y, [0, 3, 1, 2])), [-1, 48]), weights), name="out")

    return graph_def(network)


@pytest.mark.parametrize("between", [tf.identity, tf.nn.relu, lambda y: tf.nn.relu(y - 0.25) * 2.0])
def test_the_file_is_near_the_graph_whatever_is_between(between):
    """With any number of samples the converter takes both transpositions away; with one it does not."""
    model = between_transpositions(between)
    result, x = exported(model)
    runner = TfliteRunner(contents(result)[0])
    size = runner.file.inputs()[0].signature[0] or len(x)
    found = []
    for start in range(0, len(x), size):
        runner.run({0: x[start : start + size]})
        found.append(runner.codes(runner.file.outputs()[0]))
    [wanted] = run_once(load(model), {"x": x})
    assert arrays_sqnr_db(wanted, np.concatenate(found)) > 30


def test_a_float_file_of_slightly_other_numbers_is_refused():
    graph, other = (load(between_transpositions(lambda y, add=add: tf.nn.relu(y + add))) for add in (0.0, 0.2))
    sample, settings = {0: numbers(1, 4, 3, 4)}, TfliteSettings(batch=1)
    with pytest.raises(OtherNumbersError, match="computes other numbers"):
        without_wrong_names(float_file(other, [], [], settings), graph, sample)
    without_wrong_names(float_file(graph, [], [], settings), graph, sample)


def test_a_float_file_with_outputs_of_another_shape_is_refused():
    graph, other = (
        load(graph_def(lambda order=order: tf.transpose(placeholder([None, 4, 3]), order, name="out")))
        for order in ([0, 1, 2], [0, 2, 1])
    )
    made, sample = float_file(other, [], [], TfliteSettings()), {0: numbers(2, 4, 3)}
    with pytest.raises(OtherNumbersError, match=r"has the shape \[2, 3, 4\] instead of \[2, 4, 3\]"):
        without_wrong_names(made, graph, sample)
    without_wrong_names(made, other, sample)

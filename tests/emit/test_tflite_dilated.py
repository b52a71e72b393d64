"""Convolutions between SpaceToBatch and BatchToSpace in LiteRT files."""

from __future__ import annotations

import numpy as np
import pytest
from tflite_networks import exported, image, steps_apart

from calibrant.emit.tflite.float_graph import float_graph
from calibrant.emit.tflite.settings import TfliteSettings
from calibrant.graph.load import load
from calibrant.graph.run import run_once
from graphs import conv, dense, graph_def, numbers, placeholder, tf, v1
from this_tensorflow import skipped_without_the_operation


def spread(y, paddings, crops, kernel, steps=(2, 2)):
    """A depthwise convolution whose positions are spread over a batch by hand."""
    weights = tf.constant(numbers(*kernel, 4, 1, seed=7, scale=0.4))
    inside = tf.nn.depthwise_conv2d(v1.space_to_batch_nd(y, steps, paddings), weights, [1, 1, 1, 1], "VALID")
    return v1.batch_to_space_nd(inside, steps, crops)


FORMS = {
    "same": lambda y: v1.nn.atrous_conv2d(y, numbers(3, 3, 4, 5, seed=7, scale=0.3), 2, "SAME"),
    "valid": lambda y: v1.nn.atrous_conv2d(y, numbers(3, 3, 4, 5, seed=7, scale=0.3), 2, "VALID"),
    "steps that do not divide": lambda y: v1.nn.atrous_conv2d(y, numbers(2, 3, 4, 5, seed=7, scale=0.3), 3, "SAME"),
    "depthwise": lambda y: spread(y, [[2, 2], [2, 2]], [[0, 0], [0, 0]], (3, 3)),
    "more on one side": lambda y: spread(y, [[4, 0], [1, 3]], [[0, 0], [1, 1]], (3, 3)),
    "only down": lambda y: spread(y, [[2, 2], [0, 0]], [[0, 0], [0, 0]], (3, 1), (2, 1)),
}
KEPT = {"more is cropped than was padded": lambda y: spread(y, [[0, 0], [0, 0]], [[1, 0], [0, 0]], (3, 3))}


def network(form, bias):
    def build():
        y = form(tf.nn.relu(conv(image())))
        y = tf.nn.relu(y + numbers(int(y.shape[-1]), seed=9) if bias else y)
        dense(tf.reduce_mean(y, [1, 2]), name="last")

    return build


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_they_are_one_operator(form, bias):
    result, x = exported(graph_def(network(FORMS[form], bias)))
    apart, file = steps_apart(result, x)
    names = [each.name for each in file.operators()]
    assert not any("BATCH" in name or "SPACE" in name for name in names)
    convolutions = [each for each in file.operators() if "CONV" in each.name]
    assert len(convolutions) == 2 and convolutions[1].outputs[0].dtype == np.int8
    assert apart.max() <= 1.001 and np.mean(apart <= 0.01) >= 0.99


@pytest.mark.parametrize(
    ("form", "size"),
    [*((form, 8) for form in FORMS | KEPT), ("same", 7), ("valid", 7), ("steps that do not divide", 7)],
)
def test_the_float_graph_has_the_same_numbers(form, size):
    build = (FORMS | KEPT)[form]
    graph = load(graph_def(lambda: tf.identity(build(placeholder([None, size, size, 4])), name="out")))
    made, _ = float_graph(graph, TfliteSettings(), gelus=True)
    assert any(node.op == "SpaceToBatchND" for node in made.nodes.values()) == (form in KEPT)
    x = numbers(2, size, size, 4)
    with skipped_without_the_operation():
        computed = run_once(made, {"x": x})
    for found, wanted in zip(computed, run_once(graph, {"x": x}), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_two_that_read_one_tensor_beside_a_plain_one():
    def build():
        y = tf.nn.relu(conv(image()))
        branches = [v1.nn.atrous_conv2d(y, numbers(3, 3, 4, 4, seed=rate, scale=0.3), rate, "SAME") for rate in (2, 3)]
        dense(tf.reduce_mean(tf.nn.relu(sum(branches, conv(y, name="plain", seed=4))), [1, 2]), name="last")

    result, x = exported(graph_def(build))
    apart, file = steps_apart(result, x)
    assert sum(each.name == "CONV_2D" for each in file.operators()) == 4
    assert apart.max() <= 1.001 and np.mean(apart <= 0.01) >= 0.99

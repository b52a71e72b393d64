"""Patches of images in a LiteRT file: codes are moved, each to where TensorFlow puts its number."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant.emit.tflite.rewrites.written.patches import patches_as_moves
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import conv, dense, graph_def, numbers, placeholder, tf
from tflite_networks import exported, image, steps_apart

KINDS = [
    (2, 2, 1, "VALID"),
    (2, 2, 1, "SAME"),
    (3, 1, 1, "SAME"),
    (3, 2, 1, "VALID"),
    (3, 2, 1, "SAME"),
    (3, 3, 1, "SAME"),
    (3, 3, 1, "VALID"),
    (2, 1, 3, "SAME"),
    (3, 2, 2, "VALID"),
    (2, 5, 1, "SAME"),
    ((1, 3), (2, 1), (1, 2), "SAME"),
    ((4, 2), (4, 2), 1, "VALID"),
]


def patches(y, window, stride, rate, padding):
    pair = lambda value: [1, *(value if isinstance(value, tuple) else (value, value)), 1]  # noqa: E731
    return tf.image.extract_patches(y, pair(window), pair(stride), pair(rate), padding)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(8, 8, 4), (7, 10, 3)])
def test_moves_make_the_same_patches(kind, size):
    def build():
        tf.identity(patches(placeholder([None, *size]), *kind), name="out")

    graph = load(graph_def(build))
    edit = graph.edit()
    [node] = [node for node in graph.nodes.values() if node.op == "ExtractImagePatches"]
    patches_as_moves(edit, node)
    moved = edit.finish()
    assert not any(node.op == "ExtractImagePatches" for node in moved.nodes.values())
    x = numbers(2, *size)
    np.testing.assert_array_equal(run_once(moved, {"x": x})[0], run_once(graph, {"x": x})[0])


@pytest.mark.parametrize(("kind", "operator"), [(KINDS[0], "SPACE_TO_DEPTH"), (KINDS[4], "STRIDED_SLICE")])
def test_patches_of_codes_are_codes(kind, operator):
    """As in front of a vision transformer, or of a local attention."""

    def build():
        found = patches(tf.nn.relu(conv(image(), name="one")), *kind)
        tf.identity(dense(tf.reshape(found, [-1, found.shape[-1]]), name="last"), name="out")

    result, x = exported(graph_def(build))
    apart, file = steps_apart(result, x)
    assert apart.max() <= 1
    assert {o.is_integer for o in file.operators() if o.name not in ("QUANTIZE", "DEQUANTIZE")} == {True}
    assert operator in {o.name for o in file.operators()}

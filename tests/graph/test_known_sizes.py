"""Sizes asked of a tensor of which only the number of samples is open."""

from __future__ import annotations

import numpy as np
import pytest

import calibrant
from calibrant.graph.known_sizes import with_known_sizes
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import conv, graph_def, numbers, placeholder, tf

KNOWN = {
    "one": lambda shape: shape[3],
    "the last": lambda shape: shape[-1],
    "some": lambda shape: shape[1:3],
    "those from one on": lambda shape: shape[1:],
    "backwards": lambda shape: shape[:0:-1],
    "gathered": lambda shape: tf.gather(shape, [3, 1]),
    "gathered alone": lambda shape: tf.gather(shape, 2),
}
OPEN = {
    "samples": lambda shape: shape[0],
    "all": lambda shape: shape[:],
    "up to one": lambda shape: shape[:2],
    "a new axis": lambda shape: shape[None, 1:],
    "unknown": lambda shape: shape[tf.cast(placeholder([], "at"), tf.int32)],
}


def built(pick, dtype):
    def network():
        x = placeholder([None, 5, 6, 2])
        sizes = tf.cast(pick(tf.shape(x, out_type=dtype)), tf.float32)
        tf.add(tf.reduce_sum(x, [1, 2, 3]), tf.reduce_sum(sizes), name="out")
        tf.identity(sizes, name="sizes")

    return load(graph_def(network), outputs=["out", "sizes"])


@pytest.mark.parametrize("dtype", [tf.int32, tf.int64])
@pytest.mark.parametrize("pick", KNOWN.values(), ids=KNOWN)
def test_known_ones_are_constants(pick, dtype):
    graph = built(pick, dtype)
    known = with_known_sizes(graph)
    assert "Shape" not in {node.op for node in known.nodes.values()}
    feeds = {"x": numbers(3, 5, 6, 2)}
    for one, other in zip(run_once(known, feeds), run_once(graph, feeds), strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.shape == other.shape


@pytest.mark.parametrize("pick", OPEN.values(), ids=OPEN)
def test_open_ones_stay(pick):
    graph = built(pick, tf.int32)
    assert with_known_sizes(graph) is graph


def test_a_kernel_made_for_the_channels_is_quantized():
    def network():
        x = tf.nn.relu(conv(placeholder([None, 8, 8, 4]), name="one"))
        blur = tf.tile(tf.constant(np.full((3, 3, 1, 1), 1 / 9, np.float32)), [1, 1, tf.shape(x)[-1], 1])
        tf.nn.depthwise_conv2d(x, blur, [1, 1, 1, 1], "SAME", name="out")

    result = calibrant.quantize(graph_def(network), "batch_num: 1", [numbers(4, 8, 8, 4)], outputs=["out"])
    assert [layer.layer.name for layer in result.network.layers] == ["one", "out"]

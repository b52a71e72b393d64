"""A constant that is repeated for an operand beside it is read as it is stored, where that is broadcast."""

from __future__ import annotations

import numpy as np
import pytest

import calibrant
from calibrant.graph.inference.repeated_constants import without_repeated_constants
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import graph_def, numbers, placeholder, tf

X = numbers(4, 3, 2, 5, seed=9)


def kernel(*shape):
    return tf.constant(numbers(*shape, seed=3), name="kernel")


def tiled(shape, times):
    return tf.tile(kernel(*shape), times, name="tiled")


BROADCAST = {
    "product": lambda x: tf.matmul(x, tiled((1, 3, 5, 2), [4, 1, 1, 1])),
    "first operand": lambda x: tf.matmul(tiled((1, 3, 5, 2), [4, 1, 1, 1]), x, transpose_a=True, transpose_b=True),
    "computed": lambda x: tf.matmul(x, tf.tile(tf.transpose(kernel(2, 5)[None, None], [0, 1, 3, 2]), [4, 3, 1, 1])),
    "identities": lambda x: tf.matmul(x, tf.identity(tf.tile(tf.identity(kernel(1, 1, 5, 2)), [4, 3, 1, 1]))),
    "twice": lambda x: tf.matmul(x, tf.tile(tf.tile(kernel(1, 1, 5, 2), [4, 1, 1, 1]), [1, 3, 1, 1])),
    "elementwise": lambda x: x * tiled((1, 3, 1, 5), [4, 1, 2, 1]),
    "broadcast_to": lambda x: tf.broadcast_to(kernel(5), [4, 3, 2, 5]) - x,
}
REPEATED = {
    "matrix axis": lambda x: tf.matmul(x, tiled((4, 3, 1, 2), [1, 1, 5, 1])),
    "larger than one": lambda x: tf.matmul(x, tiled((2, 3, 5, 2), [2, 1, 1, 1])),
    "smaller beside": lambda x: tf.matmul(x[:1], tiled((1, 3, 5, 2), [4, 1, 1, 1])),
    "vector": lambda x: tf.matmul(x, tf.broadcast_to(kernel(2), [5, 2])),
}


def network(operation):
    return load(graph_def(lambda: tf.identity(operation(placeholder(X.shape)), name="out")))


@pytest.mark.parametrize("name", BROADCAST)
def test_what_broadcasts_reads_the_constant_as_it_is_stored(name):
    graph = network(BROADCAST[name])
    stored = without_repeated_constants(graph)
    assert not {node.op for node in stored.nodes.values()} & {"Tile", "BroadcastTo"}
    np.testing.assert_allclose(run_once(stored, {"x": X})[0], run_once(graph, {"x": X})[0], 1e-6, 1e-6)


@pytest.mark.parametrize("name", REPEATED)
def test_what_is_needed_in_its_shape_stays_repeated(name):
    graph = network(REPEATED[name])
    assert without_repeated_constants(graph) is graph


def test_weights_repeated_for_each_sample_are_counted_and_written_once(tmp_path):
    model = graph_def(lambda: tf.matmul(placeholder([4, 3, 8]), tiled((1, 8, 6), [4, 1, 1]), name="out"))
    data = numbers(16, 3, 8, seed=7)
    result = calibrant.quantize(model, "batch_num: 4", data, tmp_path / "out", export=["tflite", "ascend"])
    assert result.report["totals"]["quantized_weights"] == 48
    assert result.export_notes["tflite"]["on_integers"]["weights"] == 48
    assert calibrant.verify(tmp_path / "out", data).passed

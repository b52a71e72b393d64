"""Models whose inputs hold numbers of rows of a run: fewer rows than they name are no run of them."""

from __future__ import annotations

import numpy as np
import pytest

import calibrant
from graphs import dense, graph_def, numbers, tf, v1

NODES, EDGES, GRAPHS = 12, 30, 3


def network():
    """A graph network: messages along edges, whose numbers are summed by node and by graph."""
    nodes = v1.placeholder(tf.float32, [None, 4], name="nodes")
    edges = v1.placeholder(tf.int32, [None, 2], name="edges")
    graphs = v1.placeholder(tf.int32, [None], name="graphs")
    y = tf.nn.relu(dense(nodes, 8, "one"))
    sent = tf.math.unsorted_segment_sum(tf.gather(y, edges[:, 0]), edges[:, 1], tf.shape(nodes)[0])
    tf.identity(dense(tf.math.segment_sum(y + sent, graphs), 3, "two", seed=4), name="out")


def batch(seed):
    edges = np.random.default_rng(seed).integers(0, NODES, (EDGES, 2)).astype(np.int32)
    graphs = np.repeat(np.arange(GRAPHS, dtype=np.int32), NODES // GRAPHS)
    return {"nodes": numbers(NODES, 4, seed=seed), "edges": edges, "graphs": graphs}


def test_the_file_is_tried_with_all_rows_of_a_batch(tmp_path):
    data = [batch(1), batch(2)]
    result = calibrant.quantize(graph_def(network), data=data, samples="all", out=tmp_path / "out", export="tflite")
    assert not result.refused
    assert result.export_notes["tflite"]["samples_a_run"] is None
    assert calibrant.verify(tmp_path / "out", data=[batch(3)]).passed


def neighbours():
    nodes, near = v1.placeholder(tf.float32, [None, 4], name="nodes"), v1.placeholder(tf.int32, [None, 2], name="near")
    y = tf.nn.relu(dense(nodes, 8, "one"))
    tf.identity(dense(y + tf.reduce_mean(tf.gather(y, near), 1), 3, "two", seed=4), name="out")


@pytest.mark.parametrize(
    ("build", "fixed", "sizes"),
    [
        (neighbours, {"tflite_batch": 2}, {"tflite_batch": NODES}),
        (
            network,
            {"tflite_shape": {"nodes": (2, 4)}},
            {"tflite_shape": {key: each.shape for key, each in batch(1).items()}},
        ),
    ],
)
def test_sizes_that_have_all_rows_are_named(build, fixed, sizes):
    data = batch(1) if build is network else {"nodes": numbers(NODES, 4), "near": batch(1)["edges"][:NODES]}
    with pytest.raises(calibrant.ModelError, match="index out of bounds") as refused:
        calibrant.quantize(graph_def(build), data=[data], samples="all", export="tflite", **fixed)
    [problem] = refused.value.problems
    words = [
        f"--tflite-shape {key}={','.join(map(str, shape))}" for key, shape in sizes.get("tflite_shape", {}).items()
    ]
    assert problem.hint.endswith(" ".join(words) if words else f"--tflite-batch {NODES}")
    assert not calibrant.quantize(graph_def(build), data=[data], samples="all", export="tflite", **sizes).refused

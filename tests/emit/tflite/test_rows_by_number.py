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


@pytest.mark.parametrize("samples", [None, "all"])
def test_the_file_is_tried_with_all_rows_of_a_batch(samples):
    options = {} if samples is None else {"samples": samples}
    result = calibrant.quantize(graph_def(network), data=[batch(1), batch(2)], export="tflite", **options)
    assert not result.refused
    assert result.export_notes["tflite"]["samples_a_run"] is None

"""Whoever watches a read inside a loop gets what the node reads in each round, and the results stay as they are."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant.graph.functions.enclosed_reads import EnclosedRead, enclosed_read, with_watchers
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import Runner, run_once
from calibrant.graph.weight_only import weight_only_layers
from graphs import graph_def, numbers, placeholder, tf

BATCH = numbers(4, 3, seed=9)
WEIGHTS = numbers(3, 3, seed=2, scale=0.4)


def loop(product=lambda h, matrix: tf.matmul(h, matrix)):
    """Three rounds of tanh(product(state, weights))."""

    def build():
        x = placeholder([None, 3])
        matrix = tf.constant(WEIGHTS, name="weights")

        def body(i, h):
            h = tf.tanh(product(h, matrix))
            h.set_shape([None, 3])
            return i + 1, h

        tf.identity(tf.while_loop(lambda i, h: i < 3, body, [0, x])[1], name="out")

    return load(graph_def(build), outputs=["out"])


def rounds():
    """What each of the three rounds begins with."""
    states = [BATCH]
    for _ in range(2):
        states.append(np.tanh(states[-1] @ WEIGHTS))
    return np.stack(states)


@pytest.mark.parametrize("threads", [0, 1])
def test_every_round_is_seen(style, threads):
    graph = loop()
    (layer,) = weight_only_layers(graph)
    seen = []
    with Runner(graph, threads=threads, watched={layer.read.key: lambda values: seen.append(values.copy())}) as runner:
        (made,) = runner({"x": BATCH})
    np.testing.assert_allclose(np.stack(seen), rounds(), atol=1e-6)
    np.testing.assert_array_equal(made, run_once(graph, {"x": BATCH})[0])


def test_the_other_operand_is_what_is_read(style):
    graph = loop(lambda h, matrix: tf.transpose(tf.matmul(matrix, h, transpose_a=True, transpose_b=True)))
    (layer,) = weight_only_layers(graph)
    seen = []
    with Runner(graph, watched={layer.read.key: lambda values: seen.append(values.copy())}) as runner:
        runner({"x": BATCH})
    assert layer.read.index == 1
    np.testing.assert_allclose(np.stack(seen), rounds(), atol=1e-6)


def test_the_graph_itself_is_not_changed(style):
    graph = loop()
    before = graph.serialized()
    (layer,) = weight_only_layers(graph)
    with_watchers(graph, {layer.read.key: lambda values: None})
    assert graph.serialized() == before


def test_keys_are_no_names_of_tensors():
    read = EnclosedRead("while_body_7", "cell/MatMul", 1)
    assert enclosed_read(read.key) == read
    assert enclosed_read(EnclosedRead("", "cell/MatMul", 0).key) == EnclosedRead("", "cell/MatMul", 0)
    assert enclosed_read("cell/MatMul:0") is None
    with pytest.raises(ValueError, match="can be fetched"):
        with_watchers(loop(), {"out:0": lambda values: None})

"""Layer norms as Keras 2 writes them, taken apart."""

from __future__ import annotations

import pytest
from plain_graphs import check_numbers, check_on_integers, ops

from calibrant.graph.load import load
from calibrant.steps.plain_layer_norms import with_plain_layer_norms
from graphs import conv, graph_def, numbers, placeholder, tf


def row_norm(x, size, scale=1.0, shift=0.0, epsilon=1e-3):
    """A FusedBatchNorm in training mode whose channels are rows of ``size`` numbers."""
    shape = tf.shape(x)
    rows = tf.reshape(x, [1, -1, size, 1])
    count = tf.shape(rows)[1:2]
    norm = tf.raw_ops.FusedBatchNormV3(
        x=rows,
        scale=tf.fill(count, scale),
        offset=tf.fill(count, shift),
        mean=tf.zeros([0]),
        variance=tf.zeros([0]),
        epsilon=epsilon,
        data_format="NCHW",
        is_training=True,
        name="norm",
    )
    return tf.reshape(norm.y, shape)


def built(**changes):
    def network():
        norm = row_norm(placeholder((None, 5, 4)), 4, **changes)
        tf.identity(norm * tf.constant(numbers(4)) + tf.constant(numbers(4, seed=1)), name="out")

    return load(graph_def(network), outputs=["out"])


@pytest.mark.parametrize("epsilon", [1e-3, 0.5])
def test_the_numbers_stay(epsilon):
    graph = built(epsilon=epsilon)
    plain = with_plain_layer_norms(graph)
    assert plain.nodes["norm"].op == "Mul" and "FusedBatchNormV3" not in ops(plain)
    x = numbers(3, 5, 4)
    x[0, 0] = 0
    x[1, 1] = 1e-4 * x[1, 1]
    check_numbers(plain, graph, x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("changes", [{"scale": 2.0}, {"shift": 1.0}])
def test_a_factor_and_a_shift_of_rows_are_none_of_a_layer_norm(changes):
    graph = built(**changes)
    assert with_plain_layer_norms(graph) is graph


def test_it_runs_on_integers_in_a_litert_file():
    def network():
        one = conv(placeholder((None, 8, 8, 4)), name="one")
        gamma, beta = (tf.constant(numbers(4, seed=seed)) for seed in (7, 8))
        tf.identity(conv(row_norm(one, 4) * gamma + beta, name="two"), name="out")

    check_on_integers(graph_def(network), numbers(16, 8, 8, 4, seed=5), least_db=25)


def test_keras_2(keras2):
    x = keras2.Input([8, 8, 4], name="x")
    y = keras2.layers.LayerNormalization()(keras2.layers.Conv2D(4, 3)(x))
    graph = load(keras2.Model(x, keras2.layers.Conv2D(4, 3)(y)))
    plain = with_plain_layer_norms(graph)
    assert "FusedBatchNormV3" in ops(graph) - ops(plain)
    check_numbers(plain, graph, numbers(2, 8, 8, 4), rtol=1e-4, atol=1e-5)

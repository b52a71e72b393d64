"""Layer norms as Keras 2 writes them, taken apart."""

from __future__ import annotations

import numpy as np
import pytest
from plain_graphs import check_numbers, check_on_integers, ops

import calibrant
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from calibrant.steps.plain.sample_norms import with_plain_sample_norms
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
    plain = with_plain_sample_norms(graph)
    assert plain.nodes["norm"].op == "Mul" and "FusedBatchNormV3" not in ops(plain)
    x = numbers(3, 5, 4)
    x[0, 0] = 0
    x[1, 1] = 1e-4 * x[1, 1]
    check_numbers(plain, graph, x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("changes", [{"scale": 2.0}, {"shift": 1.0}])
def test_a_factor_and_a_shift_of_rows_are_none_of_a_layer_norm(changes):
    graph = built(**changes)
    assert with_plain_sample_norms(graph) is graph


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
    plain = with_plain_sample_norms(graph)
    assert "FusedBatchNormV3" in ops(graph) - ops(plain)
    check_numbers(plain, graph, numbers(2, 8, 8, 4), rtol=1e-4, atol=1e-5)


def of_the_sample(order, x):
    """A batch norm in training mode, as in generators of images."""
    channels = int(x.shape[order.index("C")])
    factors = [tf.constant(numbers(channels, seed=seed)) for seed in (7, 8)]
    return tf.compat.v1.nn.fused_batch_norm(x, *factors, data_format=order, is_training=True, name="norm")[0]


@pytest.mark.parametrize("order", ["NHWC", "NCHW"])
def test_a_batch_norm_of_one_sample(order):
    def network():
        shape = [1, 8, 8, 4] if order == "NHWC" else [1, 4, 8, 8]
        tf.identity(of_the_sample(order, placeholder(shape)), name="out")

    graph = load(graph_def(network))
    plain = with_plain_sample_norms(graph)
    assert plain.nodes["norm"].op == "AddV2" and "FusedBatchNormV3" not in ops(plain)
    check_numbers(plain, graph, numbers(*graph.shape("x:0"), seed=5), rtol=1e-4, atol=1e-5)


def test_a_batch_norm_of_one_sample_runs_on_integers():
    def network():
        one = tf.nn.relu(of_the_sample("NHWC", conv(placeholder((1, 8, 8, 4)), name="one")))
        tf.identity(conv(one, name="two", seed=4), name="out")

    data = [numbers(1, 8, 8, 4, seed=seed) for seed in range(16)]
    result = calibrant.quantize(graph_def(network), "batch_num: 16", data, export="tflite")
    assert result.report["exports"]["tflite"]["operators_in_float"] == []
    assert any("'norm'" in warning and "as in training" in warning for warning in result.report["warnings"])


def test_a_batch_norm_of_several_samples_is_refused():
    def network():
        tf.identity(of_the_sample("NHWC", conv(placeholder((None, 8, 8, 4)), name="one")), name="out")

    with pytest.raises(calibrant.ModelError, match="with a batch of 1"):
        load(graph_def(network))


@pytest.mark.parametrize("batch", [1, None])
def test_a_generator_of_keras_2(keras2, batch):
    """It keeps its norms in training mode; if it takes one sample at a time, they are those of the sample."""
    x = keras2.Input([8, 8, 4], batch_size=batch, name="x")
    y = keras2.layers.BatchNormalization()(keras2.layers.Conv2D(4, 3, use_bias=False)(x), training=True)
    model = keras2.Model(x, keras2.layers.Conv2D(4, 3)(keras2.layers.ReLU()(y)))
    if batch is None:
        with pytest.raises(calibrant.ModelError, match="training mode"):
            load(model)
        return
    graph = load(model)
    assert "FusedBatchNormV3" not in ops(with_plain_sample_norms(graph))
    [found] = run_once(graph, {"x": numbers(1, 8, 8, 4)})
    np.testing.assert_allclose(found, model(numbers(1, 8, 8, 4)), atol=1e-4)

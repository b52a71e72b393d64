"""Tensors that are computed for their shape alone."""

from __future__ import annotations

import numpy as np
import pytest

import calibrant
from calibrant.fold import fold
from calibrant.graph.layers import find_layers
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import dense, graph_def, numbers, placeholder, tf

keras = tf.keras


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_masked_recurrent_layer_has_no_step_in_front_of_its_loop(kind):
    tokens = keras.Input([None], dtype="int32")
    y = getattr(keras.layers, kind)(5)(keras.layers.Embedding(9, 4, mask_zero=True)(tokens))
    model = keras.Model(tokens, keras.layers.Dense(3, name="last")(y))
    data = np.random.default_rng(0).integers(1, 9, (8, 6)).astype(np.int32)
    data[::2, 4:] = 0
    result = calibrant.quantize(model, data=data)
    assert ["last" in layer.layer.name for layer in result.network.layers] == [True]
    assert not any("0 throughout" in warning for warning in result.report["warnings"])
    graph = fold(load(model)).graph
    np.testing.assert_allclose(run_once(graph, {graph.input_keys[0]: data})[0], model(data), atol=1e-6)


def like(make):
    """Zeros in the shape of something made of x and y, and another output; as a folded graph."""

    def build():
        x, y = placeholder([None, 4]), placeholder([None, 4], "y")
        tf.identity(tf.ones_like(make(x, y)) + 2.0, name="filled")
        tf.identity(dense(x), name="out")

    return fold(load(graph_def(build), outputs=["filled", "out"])).graph


@pytest.mark.parametrize(
    ("make", "dropped"),
    [
        (lambda x, y: tf.sigmoid(dense(x, 3, "gone")), True),
        (lambda x, y: tf.split(tf.transpose(dense(x, 6, "gone")), 2)[1], True),
        (lambda x, y: tf.tanh(dense(x, 4, "gone")) * x, True),
        (lambda x, y: tf.matmul(dense(x, 3, "gone"), x[:, :3], transpose_b=True), True),
        (lambda x, y: tf.tanh(dense(x, 4, "gone")) * y, False),  # one of them may have a single row
        (lambda x, y: tf.boolean_mask(dense(x, 4, "gone"), x[:, 0] > 0), True),
    ],
)
def test_zeros_of_a_shape_that_inputs_have(make, dropped):
    graph = like(make)
    assert ("gone" in graph.nodes) is not dropped
    data = {"x": numbers(5, 4), "y": numbers(1, 4)}
    filled = run_once(graph, data)[0]
    with tf.Graph().as_default():
        x, y = (tf.constant(value) for value in data.values())
        wanted = tf.compat.v1.Session().run(tf.shape(make(x, y)))
    assert filled.shape == tuple(wanted) and (filled == 3).all()


def test_what_others_read_stays():
    def build():
        y = dense(placeholder([None, 4]), 3, "kept")
        tf.identity(tf.where(y > 0, y, tf.zeros_like(y)), name="out")

    graph = fold(load(graph_def(build))).graph
    assert any(node.op == "ZerosLike" for node in graph.nodes.values())
    assert [layer.name for layer in find_layers(graph)[0]] == ["kept"]


def test_zeros_of_texts_stay():
    def build():
        words = tf.gather(tf.constant(["one", "two"]), placeholder([None], dtype=tf.int32))
        tf.identity(tf.strings.length(tf.raw_ops.ZerosLike(x=words)), name="out")

    graph = fold(load(graph_def(build))).graph
    assert run_once(graph, {"x": np.array([1, 0, 1], np.int32)})[0].tolist() == [0, 0, 0]

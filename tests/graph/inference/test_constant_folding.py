"""What depends on constants alone becomes a constant: any stateless operation, but nothing that grows or is shared."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant.graph.graph import Graph, ordered
from calibrant.graph.inference.constant_folding import GROWTH, SMALL_BYTES, constant_values, fold_constants
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import graph_def, numbers, placeholder, tf

IMAGES = numbers(2, 8, 8, 3, seed=9)


def kernel(*shape):
    return tf.constant(numbers(*shape, seed=3))


def standardized():
    mean, variance = tf.nn.moments(kernel(3, 3, 3, 4), [0, 1, 2])
    return (kernel(3, 3, 3, 4) - mean) / tf.sqrt(variance + 1e-5)


WEIGHTS = {
    "split": lambda: tf.split(kernel(3, 3, 3, 8), 2, 3)[1],
    "slice": lambda: kernel(3, 3, 3, 8)[..., :4],
    "concat": lambda: tf.concat([kernel(3, 3, 3, 2), kernel(3, 3, 3, 2)], 3),
    "gather": lambda: tf.gather(kernel(3, 3, 3, 8), [0, 2, 4, 6], axis=3),
    "tile": lambda: tf.tile(kernel(3, 3, 3, 1), [1, 1, 1, 4]),
    "pad": lambda: tf.pad(kernel(1, 1, 3, 4), [[1, 1], [1, 1], [0, 0], [0, 0]]),
    "clip": lambda: tf.clip_by_value(kernel(3, 3, 3, 4), -1.0, 1.0),
    "sign": lambda: tf.sign(kernel(3, 3, 3, 4)),
    "weight norm": lambda: tf.nn.l2_normalize(kernel(3, 3, 3, 4), [0, 1, 2]) * tf.constant([1.0, 2.0, 3.0, 4.0]),
    "standardized": standardized,
    "identity between": lambda: tf.exp(tf.identity(tf.sqrt(tf.abs(kernel(3, 3, 3, 4))))),
    "dequantized": lambda: tf.quantization.dequantize(
        tf.bitcast(tf.constant(np.arange(108, dtype=np.uint8).reshape(3, 3, 3, 4)), tf.quint8), -1.0, 1.0
    ),
}


def network(weights):
    return load(graph_def(lambda: tf.nn.conv2d(placeholder([None, 8, 8, 3]), weights(), 1, "SAME", name="conv")))


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_behind_operations_become_one_constant(name):
    graph = network(WEIGHTS[name])
    folded = fold_constants(graph)
    assert [node.op for node in folded.nodes.values() if node.op not in ("Const", "Placeholder")] == ["Conv2D"]
    assert sum(node.op == "Const" for node in folded.nodes.values()) == 1
    # TensorFlow's optimizer may regroup the arithmetic that is folded here
    np.testing.assert_allclose(run_once(folded, {"x": IMAGES})[0], run_once(graph, {"x": IMAGES})[0], 1e-4, 1e-5)


def test_a_constant_with_two_identities_stays_one():
    def build():
        x, weights = placeholder([None, 4]), kernel(4, 4)
        tf.add(tf.matmul(x, tf.identity(weights)), tf.matmul(x, tf.identity(weights)), name="out")

    graph = load(graph_def(build))
    assert fold_constants(graph) is graph


@pytest.mark.parametrize(
    "weights",
    [
        lambda: tf.quantization.fake_quant_with_min_max_vars(kernel(3, 3, 3, 4), -1.0, 1.0),
        lambda: tf.random.stateless_uniform([3, 3, 3, 4], [1, 2]),
        lambda: tf.random.uniform([3, 3, 3, 4]) * 0.0,
    ],
)
def test_quantizers_and_random_numbers_stay(weights):
    definition = graph_def(lambda: tf.nn.conv2d(placeholder([None, 8, 8, 3]), weights(), 1, "SAME", name="conv"))
    graph = Graph(ordered({node.name: node for node in definition.node}, ["conv", "x"]), ("x:0",), ("conv:0",))
    kinds = {node.op for node in fold_constants(graph).nodes.values()}
    assert kinds & {"FakeQuantWithMinMaxVars", "StatelessRandomUniformV2", "RandomUniform"}


def test_what_would_grow_stays_and_its_value_can_still_be_had():
    rows = SMALL_BYTES // 4 // 100 + 1

    def build():
        tf.gather(tf.tile(kernel(1, 100), [rows, 1], name="tiled"), placeholder([None], dtype=tf.int32), name="out")

    graph = load(graph_def(build))
    assert fold_constants(graph).nodes["tiled"].op == "Tile"
    assert constant_values(graph, ["tiled", "out"])["tiled:0"].shape == (rows, 100)


@pytest.mark.parametrize("times, op", [(GROWTH, "Const"), (GROWTH + 1, "Tile")])
def test_what_is_large_may_grow_as_from_int8_to_float32(times, op):
    def build():
        large = kernel(SMALL_BYTES // 4 // GROWTH + 1, 1)
        tf.gather(tf.tile(large, [times, 1], name="tiled"), placeholder([None], dtype=tf.int32), name="out")

    assert fold_constants(load(graph_def(build))).nodes["tiled"].op == op


def test_an_output_of_constants_stays_an_output():
    def build():
        placeholder([None, 4])
        first, second = tf.split(kernel(2, 4), 2, name="halves")
        tf.add(first, second, name="sum")

    graph = load(graph_def(build), inputs=["x"], outputs=["halves:1", "sum"])
    folded = fold_constants(graph)
    assert folded.outputs == ("halves:1", "sum:0")
    for mine, theirs in zip(run_once(folded, {"x": numbers(1, 4)}), run_once(graph, {"x": numbers(1, 4)}), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_an_operation_that_fails_is_left_to_the_run():
    def build():
        wrong = tf.constant(np.zeros((2, 2), np.float32), name="singular")
        y = tf.matmul(placeholder([None, 2]), tf.linalg.inv(wrong, name="inverse"))
        tf.add(y, tf.exp(tf.constant([1.0, 2.0]), name="exp"), name="out")

    folded = fold_constants(load(graph_def(build)))
    assert (folded.nodes["inverse"].op, folded.nodes["exp"].op) == ("MatrixInverse", "Const")

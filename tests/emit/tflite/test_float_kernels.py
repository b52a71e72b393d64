"""Float operations that have the same bits in a LiteRT file and in its simulation."""

from __future__ import annotations

import platform

import numpy as np
import pytest

from calibrant.emit.tflite.rewrites.float_kernels import mean_in_kernel_order, powers_as_products, same_reciprocal_roots
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import dense, graph_def, numbers, placeholder, tf, v1
from tflite_networks import exported, steps_apart


def run(build, rewrite, values):
    """What a graph of one operation gives before and after a rewrite, and the operations of the second."""
    graph = load(graph_def(lambda: tf.identity(build(placeholder([None, *values.shape[1:]])), name="out")))
    changed = rewrite(graph)
    before, after = (run_once(each, {each.input_keys[0]: values}, each.outputs)[0] for each in (graph, changed))
    return before, after, [node.op for node in changed.nodes.values()]


def products(graph):
    edit = graph.edit()
    powers_as_products(edit)
    return edit.finish()


def roots(graph):
    edit = graph.edit()
    same_reciprocal_roots(edit)
    return edit.finish()


def mean(x, axis=-1, keep=False):
    """A mean in the kernel's order; None where that is not known."""
    with tf.Graph().as_default(), v1.Session() as session:
        made = mean_in_kernel_order(tf.constant(x), np.array(axis), keep)
        return None if made is None else session.run(made)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("size", [1, 2, 16, 64, 96])
def test_a_mean_is_the_same_up_to_rounding(size, keep):
    x = numbers(5, 7, size)
    np.testing.assert_allclose(mean(x, keep=keep), x.astype(np.float64).mean(-1, keepdims=keep), atol=1e-6)


@pytest.mark.parametrize("shape, axis", [((5, 7, 10), -1), ((5, 7, 64), 1), ((5, 8, 8, 4), (1, 2))])
def test_means_whose_order_is_not_known_are_left_alone(shape, axis):
    assert mean(numbers(*shape), axis) is None


def test_sums_run_over_every_32nd_value_then_half_to_half():
    x = numbers(4, 96, scale=3.0)
    total = x[:, :32] + x[:, 32:64] + x[:, 64:]
    while total.shape[1] > 1:
        half = total.shape[1] // 2
        total = total[:, :half] + total[:, half:]
    assert np.array_equal(mean(x), total[:, 0] * np.float32(1 / 96))


def test_a_reciprocal_root_is_right_to_a_last_bit_or_two_over_the_whole_range():
    x = np.exp(np.linspace(-60, 60, 4096, dtype=np.float32)).reshape(-1, 1)
    _, found, _ = run(tf.math.rsqrt, roots, x)
    assert np.abs(found * np.sqrt(x.astype(np.float64)) - 1).max() < 3e-7


@pytest.mark.parametrize("exponent", [2.0, 3.0])
def test_squares_and_cubes_are_products(exponent):
    x = numbers(64, 7, scale=3.0)
    _, found, ops = run(lambda t: tf.pow(t, exponent), products, x)
    assert "Pow" not in ops
    assert np.array_equal(found, x * x if exponent == 2 else (x * x) * x)


@pytest.mark.parametrize("build", [lambda t: tf.pow(t, 2.5), lambda t: tf.pow(t, [2.0, 3.0]), lambda t: tf.pow(t, t)])
def test_other_powers_are_left_alone(build):
    before, after, ops = run(build, products, np.abs(numbers(64, 2)))
    assert "Pow" in ops
    assert np.array_equal(before, after)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the order of sums is that of x86 processors")
def test_a_layer_norm_has_the_same_bits_in_file_and_simulation():
    def norm(y):
        mean = tf.reduce_mean(y, -1, keepdims=True)
        variance = tf.reduce_mean(tf.math.squared_difference(y, mean), -1, keepdims=True)
        factor = tf.math.rsqrt(variance + 1e-5) * numbers(64, seed=2)
        return y * factor + (numbers(64, seed=3) - mean * factor)

    def build():
        y = norm(dense(placeholder([None, 64]), 64, "first") + numbers(64, seed=8))
        tf.identity(dense(y, 5, "second", seed=6), name="out")

    result, x = exported(graph_def(build), count=512, tflite_ops="layers")
    apart, file = steps_apart(result, x)
    assert [each.name for each in file.operators() if each.name == "RSQRT" and not each.is_integer]
    assert np.mean(apart == 0) > 0.999

"""Weights in loops get the codes with which their products change least, from what the loop really reads."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant import quantize
from calibrant.algorithms.arq import quantize_weights
from calibrant.algorithms.patch_mean import PatchGeometry
from calibrant.graph.running.run import run_once
from calibrant.steps.weights import round_products
from calibrant.steps.weights.round_products import ProductGram
from calibrant.steps.weights.weight_only import with_weight_only
from graphs import graph_def, numbers, placeholder, tf

UNITS, SAMPLES = 12, 64
WEIGHTS = numbers(UNITS, UNITS, seed=2, scale=0.3)


def correlated(seed):
    """Inputs of few degrees of freedom, with a mean far from zero, as features of sound are."""
    return numbers(SAMPLES, 3, seed=seed) @ numbers(3, UNITS, seed=7) + np.float32(2)


DATA, OTHERS = correlated(11), correlated(12)


def loop(product=lambda h, matrix: tf.matmul(h, matrix), weights=WEIGHTS):
    def build():
        x = placeholder([None, UNITS])
        matrix = tf.constant(weights, name="weights")

        def body(i, h):
            h = x + tf.tanh(product(h, matrix))
            h.set_shape([None, UNITS])
            return i + 1, h

        tf.identity(tf.while_loop(lambda i, h: i < 4, body, [0, x])[1], name="out")

    return graph_def(build)


def error(graph, reference):
    (made,), (expected,) = (run_once(each, {"x": OTHERS}) for each in (graph, reference))
    return float(np.square(made - expected).mean())


KINDS = {
    "columns": lambda h, matrix: tf.matmul(h, matrix),
    "rows": lambda h, matrix: tf.matmul(h, matrix, transpose_b=True),
    "from the left": lambda h, matrix: tf.transpose(tf.matmul(matrix, h, transpose_b=True)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_outputs_on_other_data_change_less_than_with_the_nearest_codes(style, kind):
    result = quantize(loop(KINDS[kind]), data=DATA, outputs=["out"], batch_size=16)
    (entry,) = result.network.weight_only
    nearest = quantize_weights(WEIGHTS, channel_axes=entry.layer.channel_axes)
    np.testing.assert_array_equal(entry.weights.scale, nearest.scale)
    assert np.abs(entry.weights.values.astype(int) - nearest.values).max() >= 1
    plain = with_weight_only(result.folded.graph, [type(entry)(entry.layer, nearest)])
    assert error(result.fakequant, result.folded.graph) < 0.5 * error(plain, result.folded.graph)


def test_codes_depend_on_nothing_but_the_data(style):
    definition, ways = loop(), ({}, {"workers": 2}, {"threads": 1})
    made = [quantize(definition, data=DATA, outputs=["out"], batch_size=16, **way) for way in ways]
    codes = [result.network.weight_only[0].weights.values for result in made]
    np.testing.assert_array_equal(codes[0], codes[1])
    np.testing.assert_array_equal(codes[0], codes[2])


def test_products_that_share_weights_still_share_them(style):
    two = lambda h, matrix: tf.matmul(h, matrix) + tf.matmul(tf.tanh(h), matrix)  # noqa: E731
    first, second = quantize(loop(two), data=DATA, outputs=["out"]).network.weight_only
    assert first.weights is second.weights


def test_parts_of_a_matrix_are_rounded_together(style):
    def gates(h, matrix):
        return tf.matmul(h, matrix[:, :UNITS]) * tf.sigmoid(tf.matmul(h, matrix[:, UNITS:]))

    definition = loop(gates, numbers(UNITS, 2 * UNITS, seed=3, scale=0.3))
    first, second = quantize(definition, data=DATA, outputs=["out"]).network.weight_only
    assert first.weights is second.weights and first.weights.values.shape == (UNITS, 2 * UNITS)


def test_rows_that_are_read_alone_keep_the_nearest_codes(style):
    half = UNITS // 2
    product = lambda h, matrix: tf.matmul(h[:, :half], matrix[:half]) + tf.matmul(h[:, half:], matrix[half:])  # noqa: E731
    for entry in quantize(loop(product), data=DATA, outputs=["out"]).network.weight_only:
        np.testing.assert_array_equal(entry.weights.values, quantize_weights(WEIGHTS, channel_axes=(1,)).values)


def test_a_convolution_in_a_loop(style):
    weights = numbers(3, 3, 4, 4, seed=5, scale=0.15)
    pictures = numbers(16, 6, 6, 2, seed=6) @ numbers(2, 4, seed=8) + np.float32(1)

    def build():
        x = placeholder([None, 6, 6, 4])
        kernel = tf.constant(weights, name="kernel")

        def body(i, h):
            h = x + tf.tanh(tf.nn.conv2d(h, kernel, 1, "SAME"))
            h.set_shape([None, 6, 6, 4])
            return i + 1, h

        tf.identity(tf.while_loop(lambda i, h: i < 3, body, [0, x])[1], name="out")

    result = quantize(graph_def(build), data=pictures, outputs=["out"])
    (entry,) = result.network.weight_only
    nearest = quantize_weights(weights, channel_axes=(3,))
    plain = with_weight_only(result.folded.graph, [type(entry)(entry.layer, nearest)])
    (reference,), (made,), (before,) = (
        run_once(graph, {"x": pictures}) for graph in (result.folded.graph, result.fakequant, plain)
    )
    assert np.square(made - reference).mean() < 0.7 * np.square(before - reference).mean()


def test_the_smallest_products_are_rounded_where_memory_would_not_do_for_all(style, monkeypatch):
    large = numbers(2 * UNITS, UNITS, seed=4, scale=0.2)

    def two(h, matrix):
        wide = tf.matmul(tf.concat([h, tf.sin(h)], 1), tf.constant(large, name="large"))
        return tf.matmul(h, matrix) + 0.1 * wide

    definition = loop(two)
    monkeypatch.setattr(round_products, "MOST_BYTES", ProductGram(PatchGeometry(), UNITS).most_bytes)
    for entry in quantize(definition, data=DATA, outputs=["out"]).network.weight_only:
        nearest = quantize_weights(entry.layer.values, channel_axes=(1,)).values
        assert np.array_equal(entry.weights.values, nearest) == (entry.layer.values.shape[0] > UNITS)


def test_a_function_that_is_to_be_compiled_runs_all_the_same(tmp_path):
    compiled = tf.function(lambda h: tf.matmul(h, tf.constant(WEIGHTS)), jit_compile=True)

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, UNITS], tf.float32, name="x")])
        def run(self, x):
            shapes = [tf.TensorShape([]), tf.TensorShape([None, UNITS])]
            body = lambda i, h: (i + 1, x + tf.tanh(compiled(h)))  # noqa: E731
            return tf.while_loop(lambda i, h: i < 3, body, [0, x], shape_invariants=shapes)[1]

    module = Module()
    tf.saved_model.save(module, tmp_path, signatures=module.run.get_concrete_function())
    (entry,) = quantize(tmp_path, data=DATA).network.weight_only
    assert not np.array_equal(entry.weights.values, quantize_weights(WEIGHTS, channel_axes=(1,)).values)


def test_what_nothing_runs_keeps_its_codes(style):
    def build():
        x = placeholder([None, UNITS])
        matrix = tf.constant(WEIGHTS, name="weights")
        never = tf.reduce_sum(x) > 1e9
        tf.identity(tf.cond(never, lambda: tf.matmul(x, matrix), lambda: x * 2.0), name="out")

    (entry,) = quantize(graph_def(build), data=DATA, outputs=["out"]).network.weight_only
    np.testing.assert_array_equal(entry.weights.values, quantize_weights(WEIGHTS, channel_axes=(1,)).values)


def test_numbers_that_are_not_finite_are_left_out():
    gram, other = (ProductGram(PatchGeometry(), 3) for _ in range(2))
    for each in (numbers(4, 3), np.full((2, 3), np.nan, np.float32), np.full((1, 3), np.inf, np.float32)):
        gram.update(each)
    gram.update(numbers(4, 2))  # parts of the rows
    gram.update(numbers(0, 3))
    other.update(numbers(4, 3))
    assert gram == other and gram.count == 4

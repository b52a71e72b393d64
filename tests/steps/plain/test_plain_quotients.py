"""Quotients as products, which have integer kernels."""

from __future__ import annotations

import numpy as np
import pytest
from plain_graphs import check_numbers, check_on_integers, last_op, ops

import calibrant
from calibrant.graph.reading.load import load
from calibrant.steps.plain.quotients import with_plain_quotients
from graphs import conv, graph_def, numbers, placeholder, tf

ONES = {
    "by a root": lambda x: x / tf.sqrt(tf.square(x) + 0.5),
    "by a repeated root": lambda x: (
        x / tf.reshape(tf.tile(tf.sqrt(tf.reduce_sum(x * x, -1, True) + 0.5)[:, None], [1, 2, 2]), [-1, 4])
    ),
    "softsign": tf.nn.softsign,
    "softsign by hand": lambda x: x / (1.0 + tf.abs(x)),
    "softsign the other way round": lambda x: x / (tf.abs(x) + 1.0),
    "swish by hand": lambda x: x / (1.0 + tf.exp(-x)),
    "gated by another": lambda x: tf.reverse(x, [1]) / (1.0 + tf.exp(-x)),
}
OTHERS = {
    "by a sum": lambda x: x / (tf.sqrt(tf.square(x) + 0.5) + 1.0),
    "by a constant": lambda x: x / tf.sqrt(tf.constant(numbers(4) ** 2 + 1)),
    "of another": lambda x: tf.reverse(x, [1]) / (1.0 + tf.abs(x)),
    "by more than one": lambda x: x / (2.0 + tf.abs(x)),
    "by one minus another": lambda x: x / (1.0 + tf.negative(x)),
    "by a growing exponential": lambda x: x / (1.0 + tf.exp(x * x)),
    "of halves": lambda x: tf.cast(tf.nn.softsign(tf.cast(x, tf.float16)), tf.float32),
}


NORMS = {
    "mean of roots": lambda x: x / (tf.reduce_mean(tf.sqrt(tf.square(x)), -1, keepdims=True) + 1e-3),
    "sum of absolutes": lambda x: x / (1e-6 + tf.reduce_sum(tf.abs(x), -1, keepdims=True)),
    "deviation": lambda x: (x - 1.0) / (tf.math.reduce_std(x, -1, keepdims=True) + 1e-5),
    "span": lambda x: x / (tf.reduce_max(x, -1, keepdims=True) - tf.reduce_min(x, -1, keepdims=True) + 1e-6),
    "at least": lambda x: x / tf.maximum(tf.norm(x, axis=-1, keepdims=True), 1e-6),
    "two sums": lambda x: (
        x / (tf.reduce_sum(x * x, -1, keepdims=True) + tf.reduce_sum(tf.abs(x), -1, keepdims=True) + 0.1)
    ),
    "parts of gates": lambda x: x / (tf.reduce_sum(tf.sigmoid(x)[:, :2], -1, keepdims=True) + 1e-3),
    "sum of products": lambda x: (
        x
        / (tf.reduce_sum((tf.nn.elu(x) + 1.0) * tf.reduce_sum(tf.exp(x), -1, keepdims=True), -1, keepdims=True) + 1e-6)
    ),
}
NO_NORMS = {
    "nothing added": lambda x: x / tf.reduce_sum(tf.abs(x), -1, keepdims=True),
    "a negative number added": lambda x: x / (tf.reduce_sum(tf.abs(x), -1, keepdims=True) - 1e-6),
    "may be negative": lambda x: x / (tf.reduce_sum(x, -1, keepdims=True) + 1e-6),
    "product of two": lambda x: x / (tf.reduce_sum(x * tf.reverse(x, [1]), -1, keepdims=True) + 1e-6),
    "often zero": lambda x: x / (tf.reduce_sum(tf.nn.relu(x), -1, keepdims=True) + 1e-6),
    "each its own": lambda x: x / (tf.square(x) + 0.5),
    "span of others": lambda x: x / (tf.reduce_max(x, -1, keepdims=True) - tf.reduce_min(x, 0, keepdims=True) + 1e-6),
    "span of other shapes": lambda x: (
        x / (tf.reduce_max(x, -1, keepdims=True) - tf.reduce_min(x, -1) + tf.constant([1e-6]))
    ),
    "lesser elu": lambda x: x / (tf.reduce_sum(tf.nn.elu(x) + 0.5, -1, keepdims=True) + 1e-6),
}


def built(write):
    return load(graph_def(lambda: tf.identity(write(placeholder((None, 4))), name="out")))


@pytest.mark.parametrize("write", ONES.values(), ids=ONES)
def test_a_quotient_is_a_product_of_its_name(write):
    graph = built(write)
    plain = with_plain_quotients(graph)
    assert last_op(plain, graph) == "Mul" and not {"RealDiv", "Softsign"} & ops(plain)
    x = np.concatenate([numbers(3, 4), np.float32([[-80, -1e-3, 0, 1e-6], [80, 1e4, 1e9, 9]])])
    check_numbers(plain, graph, x, rtol=2e-6, atol=1e-30)


@pytest.mark.parametrize("write", [*OTHERS.values(), *NO_NORMS.values()], ids=[*OTHERS, *NO_NORMS])
def test_others_stay(write):
    graph = built(write)
    assert with_plain_quotients(graph) is graph


@pytest.mark.parametrize("write", NORMS.values(), ids=NORMS)
def test_a_quotient_by_a_norm_is_a_product(write):
    graph = built(write)
    plain = with_plain_quotients(graph)
    assert last_op(plain, graph) == "Mul" and "RealDiv" not in ops(plain)
    x = np.concatenate([numbers(3, 4), np.float32([[0, 0, 0, 0], [-9, -1e-3, 0, 1e-6], [8, 7, 5, 9]])])
    check_numbers(plain, graph, x, rtol=4e-6, atol=1e-30)


@pytest.mark.parametrize("sizes", [[1.0, 1.2], [1.0, 0.01], [1.0, 0.0]])
@pytest.mark.parametrize("refine", [True, False])
def test_norms_are_on_integers_where_they_are_of_one_size(sizes, refine):
    def network(x):
        one = conv(x, name="one")
        size = tf.reduce_mean(tf.abs(one), [1, 2, 3], keepdims=True) + 1e-6
        return conv(one / size, name="two")

    x = numbers(16, 8, 8, 4, seed=5) * np.tile(np.float32(sizes), 8).reshape(16, 1, 1, 1)
    model = graph_def(lambda: tf.identity(network(placeholder((None, 8, 8, 4))), name="out"))
    found = calibrant.quantize(model, "batch_num : 2", [x[:8], x[8:]], export="tflite", refine=refine)
    roots = [row for row in found.export_notes["tflite"]["operators_in_float"] if row["operator"] == "RSQRT"]
    assert bool(roots) is (sizes[1] < 0.5)


def test_a_sum_of_many_parts_is_not_looked_through_to_the_end():
    """Each of which is read twice, so that there are 2^40 ways."""

    def doubled(x):
        size = tf.reduce_sum(tf.abs(x), -1, keepdims=True)
        for _ in range(40):
            size = size + size
        return x / (size + 1e-6)

    graph = built(doubled)
    assert with_plain_quotients(graph) is graph


@pytest.mark.parametrize("size", [0.1, 1.0, 30.0])
def test_softsign_runs_on_integers_in_a_litert_file(size):
    def network():
        one = conv(placeholder((None, 8, 8, 4)), name="one") * size
        tf.identity(conv(tf.nn.softsign(one), name="two"), name="out")

    check_on_integers(graph_def(network), numbers(16, 8, 8, 4, seed=5), least_db=25)

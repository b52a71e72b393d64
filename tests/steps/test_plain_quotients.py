"""Quotients as products, which have integer kernels."""

from __future__ import annotations

import numpy as np
import pytest
from plain_graphs import check_numbers, check_on_integers, last_op, ops

from calibrant.graph.load import load
from calibrant.steps.plain_quotients import with_plain_quotients
from graphs import conv, graph_def, numbers, placeholder, tf

ONES = {
    "by a root": lambda x: x / tf.sqrt(tf.square(x) + 0.5),
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


def built(write):
    return load(graph_def(lambda: tf.identity(write(placeholder((None, 4))), name="out")))


@pytest.mark.parametrize("write", ONES.values(), ids=ONES)
def test_a_quotient_is_a_product_of_its_name(write):
    graph = built(write)
    plain = with_plain_quotients(graph)
    assert last_op(plain, graph) == "Mul" and not {"RealDiv", "Softsign"} & ops(plain)
    x = np.concatenate([numbers(3, 4), np.float32([[-80, -1e-3, 0, 1e-6], [80, 1e4, 1e9, 9]])])
    check_numbers(plain, graph, x, rtol=2e-6, atol=1e-30)


@pytest.mark.parametrize("write", OTHERS.values(), ids=OTHERS)
def test_others_stay(write):
    graph = built(write)
    assert with_plain_quotients(graph) is graph


@pytest.mark.parametrize("size", [0.1, 1.0, 30.0])
def test_softsign_runs_on_integers_in_a_litert_file(size):
    def network():
        one = conv(placeholder((None, 8, 8, 4)), name="one") * size
        tf.identity(conv(tf.nn.softsign(one), name="two"), name="out")

    check_on_integers(graph_def(network), numbers(16, 8, 8, 4, seed=5), least_db=25)

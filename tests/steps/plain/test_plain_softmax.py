"""Softmax that is written by hand, as one operation."""

from __future__ import annotations

import numpy as np
import pytest
from plain_graphs import check_numbers, last_op, ops

import calibrant
from calibrant.graph.reading.load import load
from calibrant.steps.plain.softmax import with_plain_softmax
from graphs import graph_def, numbers, placeholder, tf


def quotient(x, axis=-1, keep=True, added=None, shifted=True):
    """exp(x − max) / (Σ exp + added)."""
    exponentials = tf.exp(x - tf.reduce_max(x, axis, keepdims=keep) if shifted else x)
    total = tf.reduce_sum(exponentials, axis, keepdims=keep)
    return exponentials / (total if added is None else total + tf.constant(added))


ONES = {
    "as in textbooks": quotient,
    "with the axis counted from the front": lambda x: quotient(x, axis=2),
    "with epsilon": lambda x: quotient(x, added=1e-9),
    "without the maximum": lambda x: quotient(x, shifted=False),
    "of its logarithm": lambda x: tf.exp(tf.nn.log_softmax(x)),
}
OTHERS = {
    "another axis": lambda x: quotient(x, axis=1),
    "an axis that is dropped": lambda x: quotient(tf.squeeze(x[:1, :1], [0, 1]), axis=0, keep=False),
    "a sum that is larger": lambda x: quotient(x, added=0.1),
    "epsilon that may be larger than the sum": lambda x: quotient(x, added=1e-9, shifted=False),
    "masked behind the exponential": lambda x: (
        tf.exp(x) * tf.constant(numbers(5, 6)) / tf.reduce_sum(tf.exp(x), -1, True)
    ),
}


def built(write):
    return load(graph_def(lambda: tf.identity(write(placeholder((None, 5, 6)) * 3), name="out")))


@pytest.mark.parametrize("write", ONES.values(), ids=ONES)
def test_it_is_one_operation_with_the_last_name(write):
    graph = built(write)
    plain = with_plain_softmax(graph)
    assert last_op(plain, graph) == "Softmax" and not {"Exp", "Sum"} & ops(plain)
    check_numbers(plain, graph, numbers(2, 5, 6, seed=5), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("write", OTHERS.values(), ids=OTHERS)
def test_others_stay(write):
    graph = built(write)
    assert with_plain_softmax(graph) is graph


def test_a_mask_before_it_leaves_it_on_integers(tmp_path):
    """Only what is seen of the masked scores decides their range."""
    hidden = np.where(np.tril(np.ones((5, 5))) > 0, 0, -1e9).astype(np.float32)

    def network():
        x = placeholder((None, 5, 6))
        flat = tf.matmul(tf.reshape(x, [-1, 6]), tf.constant(numbers(6, 6)))
        q = tf.reshape(flat, [-1, 5, 6])
        shares = quotient(tf.matmul(q, x, transpose_b=True) + tf.constant(hidden))
        made = tf.reshape(tf.matmul(shares, x), [-1, 6])
        return tf.matmul(made, tf.constant(numbers(6, 4, seed=2)), name="out")

    result = calibrant.quantize(graph_def(network), None, numbers(64, 5, 6, seed=1), str(tmp_path), export="tflite")
    assert result.report["exports"]["tflite"]["operators_in_float"] == []

"""Roots and logarithms of numbers whose code is zero or negative."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant.emit.tflite.planning import scales
from graphs import conv, dense, graph_def, placeholder, tf
from tflite_networks import computed, exported, image

READERS = {
    "rsqrt": lambda y: tf.math.rsqrt(y + 1e-7),
    "quotient": lambda y: tf.ones_like(y) / tf.sqrt(y + 1e-7),
    "log": lambda y: tf.math.log(y + 1e-7),
    "sqrt": lambda y: tf.sqrt(y),
}


def network(read):
    """Squares, of which the smallest have the code of zero."""

    def build():
        squares = tf.square(conv(image(), name="one"))
        size = tf.reduce_sum(squares, -1, keepdims=True)
        tf.multiply(squares * (size / 4 + 1.0), read(size), name="out")

    return graph_def(build)


@pytest.fixture
def coarse(monkeypatch):
    """Whatever puts a root or logarithm into float: refining, or scales."""
    reasons = scales._reasons

    def with_roots(at, found, network):
        name = found.operators[at].name
        return iter(["8 bits are too few"]) if name in ("RSQRT", "LOG", "SQRT") else reasons(at, found, network)

    monkeypatch.setattr(scales, "_reasons", with_roots)


def outputs_with_zeros(result, x):
    x[0] = 0
    return np.concatenate([made.reshape(-1) for made in computed(result, x)[0]])


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_symmetric_activations_leave_what_takes_no_negative_number_in_float(read):
    assert np.isfinite(outputs_with_zeros(*exported(network(read), "activation_offset : false"))).all()


@pytest.mark.parametrize("name", ["rsqrt", "quotient", "log"])
def test_what_a_function_reads_is_in_float_where_the_function_is(name, coarse):
    """Small numbers would have the code of zero, of which it makes infinity; the integer kernel makes a code."""
    result, x = exported(network(READERS[name]))
    assert np.isfinite(outputs_with_zeros(result, x)).all()
    assert "ADD" in {row["operator"] for row in result.export_notes["tflite"]["operators_in_float"]}


def test_what_reads_numbers_that_others_lost_stays_on_integers(coarse):
    """A variance with the code of zero makes NaN, which go through all layers; only their origin is put back."""

    def build():
        x = placeholder([None, 16, 3]) * np.float32([1.0, 0.01, 5.0])
        mean = tf.reduce_mean(x, 1, keepdims=True)
        variance = tf.reduce_mean(tf.square(x - mean), 1, keepdims=True)
        size = tf.sqrt(variance + 1e-5)
        y = (x - mean) / size
        for name in ("one", "two", "three"):
            y = tf.nn.relu(dense(tf.reshape(y, [-1, 48]), 48, name))
        tf.add(tf.reshape(dense(y, 48, "last"), [-1, 16, 3]) * size, mean, name="out")

    result, x = exported(graph_def(build))
    assert np.isfinite(computed(result, x)[0][0]).all()
    rows = result.export_notes["tflite"]["operators_in_float"]
    assert rows and not any("beyond" in row["reason"] or row["operator"] == "FULLY_CONNECTED" for row in rows)


def test_codes_that_others_read_too_are_left_where_they_lose_a_number(coarse):
    def build():
        positive = tf.nn.relu(conv(image(), name="one")) + 1e-6
        tf.identity(conv(positive * tf.math.log(positive), name="two"), name="out")

    result, x = exported(graph_def(build))
    assert np.isfinite(outputs_with_zeros(result, x)).all()
    reasons = {row["reason"] for row in result.export_notes["tflite"]["operators_in_float"]}
    assert "its codes are too few for what is made of it (LOG)" in reasons

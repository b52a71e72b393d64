"""Softplus, Selu, Log1p, Expm1, powers and squared differences as operations that have integer kernels."""

from __future__ import annotations

import numpy as np
import pytest
from plain_graphs import check_numbers, check_on_integers, ops

import calibrant
from calibrant.graph.reading.load import load
from calibrant.steps.plain.functions import with_plain_functions
from graphs import conv, graph_def, numbers, placeholder, tf

FUNCTIONS = {
    "Softplus": tf.nn.softplus,
    "Selu": tf.nn.selu,
    "Log1p": tf.math.log1p,
    "Expm1": tf.math.expm1,
    "Square": tf.square,
    "Pow": lambda x, name=None: tf.pow(x, 3, name=name),
}


@pytest.mark.parametrize("op", FUNCTIONS)
def test_values_and_names_stay(op):
    graph = load(graph_def(lambda: tf.negative(FUNCTIONS[op](placeholder((None, 5)), name="a"), name="out")))
    plain = with_plain_functions(graph)
    assert op not in ops(plain) and "a" in plain.nodes
    x = np.float32(
        [[-1e30, -100, -87, -20, -3], [-1, -0.1, -1e-6, -0.0, 0], [1e-6, 0.1, 1, 3, 20], [87, 88, 89, 1e4, 1e30]]
    )
    check_numbers(plain, graph, x, rtol=2e-6, atol=2e-7)


@pytest.mark.parametrize("logarithm", [lambda y: tf.math.log(1 + y), lambda y: tf.math.log(y + 1), tf.math.log1p])
def test_a_softplus_that_is_written_by_hand_has_no_exponential(logarithm):
    graph = load(graph_def(lambda: tf.identity(logarithm(tf.exp(placeholder((None, 9)))), name="out")))
    plain = with_plain_functions(graph)
    assert not {"Exp", "Log1p"} & ops(plain)
    check_numbers(plain, graph, np.float32([[-100, -20, -3, -1, 0, 1, 3, 20, 80]]), rtol=2e-6, atol=2e-7)


@pytest.mark.parametrize("limit", [1e12, 3.0, 1e18])
def test_a_bounded_root_is_that_of_what_is_bounded(limit):
    def build():
        size = tf.reduce_sum(tf.square(placeholder((None, 6, 1))), -1)
        return tf.minimum(tf.constant([limit], tf.float32), tf.math.rsqrt(size), name="out")

    graph = load(graph_def(build))
    plain = with_plain_functions(graph)
    assert "Minimum" not in ops(plain)
    check_numbers(plain, graph, np.float32([[0, 1e-19, 1e-10, 0.05, 1, 1e15]])[..., None], rtol=1e-6)


def of_many_axes(square):
    """As a group norm computes its variance."""

    def build():
        x = tf.reshape(placeholder((None, 8, 8, 4)), [-1, 8, 8, 2, 2])
        return square(x, tf.reduce_mean(x, [1, 2, 4], keepdims=True))

    return build


def square_of_difference(x, y):
    return tf.square(x - y)


@pytest.mark.parametrize("square", [tf.math.squared_difference, square_of_difference])
def test_squared_differences_of_many_axes_are_products(square):
    def build():
        tf.reduce_mean(tf.identity(of_many_axes(square)(), name="a"), [1, 2, 4], name="out")

    graph = load(graph_def(build))
    squared = graph.producer(graph.nodes["a"].input[0]).name
    plain = with_plain_functions(graph)
    assert not {"SquaredDifference", "Square"} & ops(plain) and plain.nodes[squared].op == "Mul"
    check_numbers(plain, graph, numbers(3, 8, 8, 4), rtol=1e-6)


def halves():
    return tf.cast(tf.nn.selu(tf.cast(placeholder((None, 4)), tf.float16)), tf.float32)


def constant():
    return placeholder((None, 4)) + tf.raw_ops.Softplus(features=tf.constant(numbers(4)))


def logarithm():
    return tf.math.log(2.0 * tf.nn.softplus(placeholder((None, 4))))


def divisor():
    x = placeholder((None, 4))
    return x / tf.reshape(tf.nn.softplus(x), [-1, 4])


def squares():
    return tf.math.rsqrt(tf.reduce_sum(tf.square(placeholder((None, 4))), -1, keepdims=True))


def root_with_many_bounds():
    return tf.minimum(squares(), tf.constant(numbers(4)))


def bound_beyond_float32():
    return tf.minimum(squares(), 1e30)


def root_that_may_be_no_number():
    return tf.minimum(tf.math.rsqrt(placeholder((None, 4))), 3.0)


def sum_of_squares():
    return tf.reduce_sum(tf.square(placeholder((None, 4))), -1)


def squared_difference():
    x = placeholder((None, 4))
    return tf.square(x - tf.reduce_mean(x, -1, keepdims=True))


def squared_difference_of_four_axes():
    x = placeholder((None, 8, 8, 4))
    return tf.reduce_mean(tf.math.squared_difference(x, tf.reduce_mean(x, [1, 2], keepdims=True)), [1, 2])


def distance_of_many_axes():
    return tf.sqrt(tf.reduce_sum(of_many_axes(tf.math.squared_difference)(), [1, 2, 4]))


def square_as_a_result():
    return tf.square(placeholder((None, 4)))


def root_of_a_square():
    return tf.sqrt(tf.maximum(tf.square(placeholder((None, 4))), 1e-3))


def logarithm_of_a_cube():
    return tf.math.log(tf.pow(placeholder((None, 4)), 3))


def another_power():
    return tf.pow(placeholder((None, 4)), 2.5)


def logarithm_of_more_than_one():
    return tf.math.log(1.5 + tf.exp(placeholder((None, 4))))


@pytest.mark.parametrize(
    "build",
    [
        halves,
        constant,
        logarithm,
        divisor,
        sum_of_squares,
        squared_difference,
        squared_difference_of_four_axes,
        distance_of_many_axes,
        square_as_a_result,
        root_of_a_square,
        logarithm_of_a_cube,
        another_power,
        logarithm_of_more_than_one,
        root_with_many_bounds,
        bound_beyond_float32,
        root_that_may_be_no_number,
    ],
)
def test_others_stay(build):
    graph = load(graph_def(lambda: tf.identity(build(), name="out")))
    assert with_plain_functions(graph) is graph


@pytest.mark.parametrize("reader", [lambda y: tf.math.log(y + 1e-3), lambda y: 1.0 - y])
def test_a_softplus_whose_smallest_numbers_do_not_count_is_rewritten(reader):
    graph = load(graph_def(lambda: tf.identity(reader(tf.nn.softplus(placeholder((None, 4)))), name="out")))
    plain = with_plain_functions(graph)
    assert "Softplus" not in ops(plain)
    check_numbers(plain, graph, np.float32([[-100, -20, -16, 3]]), rtol=2e-4)


def between_layers(activation, shift=0.0):
    def build():
        y = tf.nn.bias_add(conv(placeholder((None, 8, 8, 4)), name="one"), np.full(4, shift, np.float32))
        return tf.identity(conv(activation(y), name="two", seed=4), name="out")

    return graph_def(build)


def instance_norm(x):
    mean, variance = tf.nn.moments(x, [1, 2], keepdims=True)
    return (x - mean) / tf.sqrt(variance + 1e-3)


def group_norm(x):
    groups = tf.reshape(x, [-1, 8, 8, 2, 2])
    mean, variance = tf.nn.moments(groups, [1, 2, 4], keepdims=True)
    return tf.reshape((groups - mean) / tf.sqrt(variance + 1e-3), [-1, 8, 8, 4])


def group_norm_with_a_square(x):
    groups = tf.reshape(x, [-1, 8, 8, 2, 2])
    groups -= tf.reduce_mean(groups, [1, 2, 4], keepdims=True)
    variance = tf.reduce_mean(tf.square(groups), [1, 2, 4], keepdims=True)
    return tf.reshape(groups * tf.math.rsqrt(variance + 1e-3), [-1, 8, 8, 4])


def tanh_gelu(x):
    return 0.5 * x * (1 + tf.tanh(0.79788456 * (x + 0.044715 * x**3)))


def squared_relu(x):
    return tf.square(tf.nn.relu(x))


def mish(x):
    return x * tf.tanh(tf.nn.softplus(x))


@pytest.mark.parametrize(
    "activation",
    [
        *(tf.nn.softplus, tf.nn.selu, mish, tanh_gelu, squared_relu),
        *(instance_norm, group_norm, group_norm_with_a_square),
    ],
)
def test_they_run_on_integers_in_a_litert_file(activation):
    check_on_integers(between_layers(activation), numbers(16, 8, 8, 4, seed=5), least_db=30)


def test_a_softplus_of_small_numbers_keeps_its_logarithm_in_float():
    """A sigmoid has steps of 1/256; a result that has finer ones would lose its numbers."""
    model, x = between_layers(tf.nn.softplus, -8.0), numbers(16, 8, 8, 4, seed=5)
    lite = calibrant.quantize(model, "batch_num : 1", [x], export="tflite")
    floats = {each["operator"] for each in lite.export_notes["tflite"]["operators_in_float"]}
    assert floats == {"LOGISTIC", "LOG"}

"""Channels first inside of functions."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant import quantize
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import graph_def, numbers, placeholder, save, tf


def looped(step):
    """x [?, 2, 6, 6] -> three times the step -> out."""

    def build():
        def body(at, y):
            return at + 1, step(y)

        _, y = tf.while_loop(lambda at, _: at < 3, body, [tf.constant(0), placeholder([None, 2, 6, 6])])
        tf.identity(y, name="out")

    return build


def to_first(x):
    return tf.transpose(x, [0, 3, 1, 2])


def to_last(x):
    return tf.transpose(x, [0, 2, 3, 1])


KERNEL, DEPTHS = numbers(3, 3, 2, 2, scale=0.3), numbers(3, 3, 2, 1, scale=0.3)
STEPS = {
    "padding": lambda x, order: tf.nn.conv2d(x, KERNEL, 1, "SAME", order),
    "depthwise": lambda x, order: tf.nn.depthwise_conv2d(x, DEPTHS, [1, 1, 1, 1], "SAME", order),
    "largest": lambda x, order: tf.nn.max_pool2d(
        x, [1, 1, 3, 2] if order == "NCHW" else [1, 3, 2, 1], 1, "SAME", order
    ),
    "mean": lambda x, order: tf.nn.avg_pool2d(x, [1, 1, 2, 3] if order == "NCHW" else [1, 2, 3, 1], 1, "SAME", order),
}


@pytest.mark.parametrize("kind", STEPS)
def test_a_loop_with_channels_first_runs(kind):
    step, data = STEPS[kind], numbers(3, 2, 6, 6)
    graph = load(graph_def(looped(lambda x: step(x, "NCHW") + 0.5)), outputs=["out"])
    wanted = to_last(data)
    for _ in range(3):
        wanted = step(wanted, "NHWC") + 0.5
    np.testing.assert_allclose(run_once(graph, {"x": data})[0], to_first(wanted), atol=1e-5)


def test_what_is_written_runs_as_well(tmp_path):
    graph = load(graph_def(looped(lambda x: STEPS["padding"](x, "NCHW"))), outputs=["out"])
    again = load(save(graph.graph_def(), tmp_path / "m.pb"), outputs=["out"])
    data = numbers(3, 2, 6, 6)
    np.testing.assert_array_equal(run_once(again, {"x": data})[0], run_once(graph, {"x": data})[0])


def test_a_function_with_many_results():
    def build():
        def body(at, *values):
            return at + 1, *(STEPS["padding"](y, "NCHW") for y in values)

        x = placeholder([None, 2, 6, 6])
        _, *values = tf.while_loop(lambda at, *_: at < 2, body, [tf.constant(0), *(x * n for n in range(1, 31))])
        tf.add_n(values, name="out")

    graph, data = load(graph_def(build), outputs=["out"]), numbers(3, 2, 6, 6)
    wanted = to_last(data)
    for _ in range(2):
        wanted = STEPS["padding"](wanted, "NHWC")
    np.testing.assert_allclose(run_once(graph, {"x": data})[0], 465 * to_first(wanted), rtol=1e-4, atol=1e-3)


def test_a_convolutional_lstm():
    keras = tf.keras
    x = keras.Input([4, 3, 7, 7], name="x")
    y = keras.layers.ConvLSTM2D(4, 3, data_format="channels_first", padding="same")(x)
    model = keras.Model(x, keras.layers.Dense(4)(keras.layers.Flatten()(y)))
    data = numbers(4, 4, 3, 7, 7)
    np.testing.assert_allclose(run_once(load(model), {"x": data})[0], model(data), atol=1e-5)
    assert len(quantize(model, data=data).network.layers) == 1

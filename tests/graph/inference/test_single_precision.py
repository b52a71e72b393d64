"""Networks that compute in float64 become networks of float32, unless it is there for its exactness."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant.graph.layers import find_layers
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import graph_def, numbers, placeholder, tf

WEIGHTS = numbers(4, 3).astype(np.float64)
TABLE = numbers(16, 4, seed=2).astype(np.float64)
FED = {
    "float32": (np.float32, lambda x: tf.cast(x, tf.float64)),
    "bytes": (np.uint8, lambda x: tf.cast(x, tf.float64) / 255.0),
    "rows of a table": (np.int32, lambda x: tf.reduce_mean(tf.gather(TABLE, x), 1)),
    "float64": (np.float64, lambda x: x),
}


@pytest.mark.parametrize("fed", FED)
def test_layers_of_float64_whatever_is_fed(fed):
    dtype, values = FED[fed]

    def build():
        tf.identity(values(placeholder([None, 4], dtype=dtype)) @ WEIGHTS, "y")

    graph = load(graph_def(build), outputs=["y"])
    data = np.abs(4 * numbers(5, 4)).astype(dtype)
    assert graph.dtype("y:0") == tf.float32
    assert [layer.type for layer in find_layers(graph)[0]] == ["MatMul"]
    found = run_once(graph, {"x": data.astype(graph.dtype("x:0").as_numpy_dtype)})[0]
    np.testing.assert_allclose(found, values(tf.constant(data)) @ WEIGHTS, rtol=1e-5)


def beside_a_layer_of_float32(x):
    return tf.cast(tf.cast(x, tf.float64) @ WEIGHTS, tf.float32) @ numbers(3, 2)


def after_a_quantizer(x):
    """As the simulation of a LiteRT file adds up what float32 does not hold."""
    codes = tf.round(tf.math.multiply_no_nan(x, np.float32(64)))
    return tf.cast(tf.cast(codes, tf.float64) @ np.rint(1e9 * WEIGHTS), tf.float32)


@pytest.mark.parametrize("compute", [beside_a_layer_of_float32, after_a_quantizer])
def test_float64_for_exactness_stays(compute):
    def build():
        tf.identity(compute(placeholder([None, 4])), "y")

    graph = load(graph_def(build), outputs=["y"])
    assert tf.float64 in {graph.dtype(f"{name}:0") for name, node in graph.nodes.items() if node.op == "MatMul"}

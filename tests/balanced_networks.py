"""Quantizing small graphs that are written with TensorFlow's functions, for the tests of this folder."""

import numpy as np

import calibrant
from calibrant.graph.running.run import run_once
from calibrant.graph.tensorflow import tensorflow
from graphs import numbers

DMQ = "common_config { dmq_balancer { migration_strength : 0.5 } }"


def spread(channels):
    """Factors that make channels of very different size."""
    return np.geomspace(0.01, 30, channels).astype(np.float32)


def quantized(build, shape, config=DMQ, samples=8, data=None):
    """The result for the graph that ``build`` makes from a placeholder of a shape (without the batch)."""
    tf = tensorflow()
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, *shape], name="x")
        tf.identity(build(tf, x), name="out")
    if data is None:
        data = numbers(samples, *shape, seed=3)
    return calibrant.quantize(graph.as_graph_def(), config, data={"x": data}, outputs=["out"])


def float_difference(result, shape, samples=5):
    """How far the balanced float graph is from the original, relative to the largest output."""
    batch = {"x": numbers(samples, *shape, seed=4)}
    before, after = run_once(result.original, batch)[0], run_once(result.network.graph, batch)[0]
    assert np.abs(before).max() > 0
    return np.abs(before - after).max() / np.abs(before).max()


def divisions(result):
    """The divisions that stayed operations of their own, by layer."""
    return [
        name.removesuffix("/balance/divided") for name in result.fakequant.nodes if name.endswith("balance/divided")
    ]


def balanced(result):
    """Layer → factors."""
    return {layer.layer.name: layer.balance for layer in result.network.layers if layer.balance is not None}

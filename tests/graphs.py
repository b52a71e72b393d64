"""Graphs of a few nodes, written with TensorFlow's own functions, and files that hold them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from calibrant.graph.tensorflow import tensorflow

tf = tensorflow()
v1 = tf.compat.v1


def numbers(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    """Gaussian float32 values, the same in every run."""
    return np.random.default_rng(seed).normal(0, scale, shape).astype(np.float32)


def graph_def(build: Callable[[], Any]) -> Any:
    """The GraphDef of what a function adds to the current TF 1.x graph."""
    with tf.Graph().as_default() as graph:
        build()
    return graph.as_graph_def()


def placeholder(shape: list[int | None], name: str = "x", dtype: Any = None) -> Any:
    """An input."""
    return v1.placeholder(dtype or tf.float32, shape, name=name)


def conv(x: Any, channels: int = 4, name: str = "conv", seed: int = 1, **options: Any) -> Any:
    """A 3x3 convolution with constant weights behind an Identity."""
    weights = tf.constant(numbers(3, 3, int(x.shape[-1]), channels, seed=seed, scale=0.3), name=f"{name}/weights")
    return tf.nn.conv2d(x, tf.identity(weights, f"{name}/read"), 1, "SAME", name=name, **options)


def dense(x: Any, units: int = 3, name: str = "dense", seed: int = 2) -> Any:
    """A product with constant weights and a BiasAdd."""
    weights = tf.constant(numbers(int(x.shape[-1]), units, seed=seed), name=f"{name}/weights")
    product = tf.matmul(x, weights, name=name)
    return tf.nn.bias_add(product, tf.constant(numbers(units, seed=seed + 1), name=f"{name}/b"), name=f"{name}/bias")


def small_network() -> None:
    """x [?, 6, 6, 2] -> conv -> bias -> relu -> avgpool -> dense -> out [?, 3]."""
    x = placeholder([None, 6, 6, 2])
    y = tf.nn.relu(tf.nn.bias_add(conv(x), tf.constant(numbers(4, seed=5)), name="conv/bias"), name="relu")
    pooled = tf.nn.avg_pool2d(y, 2, 2, "VALID", name="pool")
    tf.identity(dense(tf.reshape(pooled, [-1, 36], name="flat")), name="out")


def save(definition: Any, path: Path) -> Path:
    """Write a GraphDef; returns the path."""
    path.write_bytes(definition.SerializeToString())
    return path


def two_layers_in_float() -> None:
    """A layer that is quantized, one that is transposed and one whose weights are not constant."""
    x = placeholder([None, 4])
    rows = tf.reshape(dense(x, 4), [4, -1])
    y = tf.matmul(rows, tf.constant(numbers(4, 4)), transpose_a=True, name="transposed")
    tf.matmul(y, tf.reshape(tf.reduce_sum(y), [1, 1]) * tf.ones([4, 2]), name="dynamic")


def weights_in_a_loop() -> None:
    """x [?, 3] -> three rounds of tanh(x @ weights) -> out; there is no layer outside the loop."""
    weights = tf.constant(numbers(3, 3, seed=2, scale=0.4), name="weights")

    def body(i: Any, h: Any) -> Any:
        return i + 1, tf.ensure_shape(tf.tanh(tf.matmul(h, weights)), [None, 3])

    tf.identity(tf.while_loop(lambda i, h: i < 3, body, [0, placeholder([None, 3])])[1], name="out")

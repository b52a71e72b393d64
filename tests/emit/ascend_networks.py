"""Small networks with one kind of layer each, quantized, and the deployable file that is made of them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from tensorflow.core.framework.graph_pb2 import GraphDef

import calibrant
from calibrant.emit.ascend.model import ascend_model
from calibrant.graph.tensorflow import tensorflow
from graphs import graph_def

tf = tensorflow()
v1 = tf.compat.v1
SAMPLES = 3


def numbers(*shape, seed=0, scale=1.0):
    """Gaussian values whose last axis grows, so that channels differ."""
    values = np.random.default_rng(seed).normal(0, scale, shape)
    return (values * np.linspace(0.2, 2, shape[-1])).astype(np.float32)


def image(channels=3, size=8, dtype=tf.float32):
    return v1.placeholder(dtype, [None, size, size, channels], name="x")


def biased(x, name, seed=9):
    kind = x.dtype.as_numpy_dtype
    return tf.nn.bias_add(x, tf.constant(numbers(int(x.shape[-1]), seed=seed).astype(kind)), name=f"{name}/bias")


def conv(x, channels=4, name="conv", seed=1, strides=1, padding="SAME", **options):
    weights = numbers(3, 3, int(x.shape[-1]), channels, seed=seed, scale=0.3).astype(x.dtype.as_numpy_dtype)
    return tf.nn.conv2d(x, tf.constant(weights), strides, padding, name=f"{name}/Conv2D", **options)


def convolution():
    tf.identity(tf.nn.relu(biased(conv(image()), "conv")), "out")


def without_bias():
    tf.identity(conv(image(), strides=2, padding="VALID"), "out")


def dilated():
    tf.identity(biased(conv(image(), dilations=2), "conv"), "out")


def padded():
    tf.identity(biased(conv(image(), padding=[[0, 0], [2, 1], [0, 3], [0, 0]]), "conv"), "out")


def depthwise():
    x = image()
    weights = tf.constant(numbers(3, 3, 3, 2, seed=2))
    tf.identity(biased(tf.nn.depthwise_conv2d(x, weights, [1, 1, 1, 1], "SAME", name="depthwise"), "depthwise"), "out")


def transposed():
    x = image(size=4)
    filters = tf.constant(np.moveaxis(numbers(3, 3, 3, 5, seed=3), 3, 2))
    y = tf.raw_ops.Conv2DBackpropInput(
        input_sizes=[SAMPLES, 8, 8, 5], filter=filters, out_backprop=x, strides=[1, 2, 2, 1], padding="SAME", name="up"
    )
    tf.identity(biased(y, "up"), "out")


def volume():
    x = v1.placeholder(tf.float32, [None, 4, 6, 6, 2], name="x")
    y = tf.nn.conv3d(x, tf.constant(numbers(2, 3, 3, 2, 4, seed=4)), [1] * 5, "SAME", name="volume")
    tf.identity(biased(y, "volume"), "out")


def product():
    x = v1.placeholder(tf.float32, [None, 12], name="x")
    tf.identity(biased(tf.matmul(x, tf.constant(numbers(12, 5, seed=5)), name="dense/MatMul"), "dense"), "out")


def batched_product():
    x = v1.placeholder(tf.float32, [None, 3, 12], name="x")
    tf.identity(tf.raw_ops.BatchMatMulV2(x=x, y=tf.constant(numbers(12, 5, seed=6)), name="rows"), "out")


def dynamic_product():
    x = v1.placeholder(tf.float32, [None, 3, 12], name="x")
    y = tf.transpose(x * 0.5 + 1, [0, 2, 1])
    tf.identity(tf.raw_ops.BatchMatMulV2(x=x, y=y, name="scores"), "out")


def pooled():
    tf.identity(tf.nn.avg_pool2d(image(), [1, 3, 2, 1], [1, 2, 2, 1], "SAME", name="pool"), "out")


def chain():
    """Everything behind everything: rounding differences would be seen as steps of the next layer."""
    x = tf.nn.relu6(biased(conv(image()), "conv"), name="relu6")
    y = tf.nn.depthwise_conv2d(x, tf.constant(numbers(3, 3, 4, 2, seed=2)), [1] * 4, "SAME", name="depthwise")
    y = tf.nn.avg_pool2d(tf.nn.relu(biased(y, "depthwise")), 2, 2, "VALID", name="pool")
    y = conv(y, 6, "conv2", seed=7)
    rows = tf.reshape(tf.tanh(y), [-1, 96])
    tf.identity(biased(tf.matmul(rows, tf.constant(numbers(96, 5, seed=8)), name="dense/MatMul"), "dense"), "out")


def residual():
    """Two readers of one tensor, a MaxPool and an Add whose inputs are quantized by tensor_quantize."""
    x = image()
    one, two = conv(x, 4, "one", seed=1), conv(x, 4, "two", seed=2)
    total = tf.raw_ops.AddV2(x=one, y=two, name="sum")
    tf.identity(tf.nn.max_pool2d(total, 2, 2, "VALID", name="maxpool"), "out")


def half_precision():
    tf.identity(biased(conv(image(dtype=tf.float16)), "conv"), "out")


KINDS = {
    build.__name__: build
    for build in (
        convolution,
        without_bias,
        dilated,
        padded,
        depthwise,
        transposed,
        volume,
        product,
        batched_product,
        dynamic_product,
        pooled,
        chain,
        residual,
    )
}
TENSORS = """
tensor_quantize { layer_name : "sum" input_index : 0 }
tensor_quantize { layer_name : "sum" input_index : 1 }
tensor_quantize { layer_name : "maxpool" input_index : 0 }
"""


def samples(graph, seed=30):
    """One batch of values for a graph's only input."""
    shape = [SAMPLES if size is None else size for size in graph.shape(graph.inputs[0])]
    kind = graph.dtype(graph.inputs[0]).as_numpy_dtype
    return {graph.input_keys[0]: np.random.default_rng(seed).normal(0.3, 1.5, shape).astype(kind)}


@lru_cache(maxsize=64)
def quantized(build, config=""):
    """What ``calibrant.quantize`` makes of the network that a function builds."""
    from calibrant.graph.reading.load import load

    definition = graph_def(build)
    batch = samples(load(definition, outputs=["out"]), seed=31)
    return calibrant.quantize(definition, config=config or None, data=[batch], outputs=["out"])


def file_of(result):
    """The deployable file, read from its bytes."""
    read = GraphDef()
    read.ParseFromString(ascend_model(result.network).graph.graph_def().SerializeToString())
    return read

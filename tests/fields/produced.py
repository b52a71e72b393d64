"""One small network with every kind of place that a configuration can talk about, and readers of what came out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

import calibrant
from calibrant.graph import nodes as nd
from calibrant.graph.running.run import run_once
from calibrant.graph.tensorflow import tensorflow
from calibrant.result import result_files

SAMPLES, BATCHES = 4, 3
LAYERS = ("conv1", "depthwise", "conv2", "deconv", "pool", "dense", "head", "scores")


def numbers(*shape, seed, scale=1.0):
    """Gaussian float32 values."""
    return np.random.default_rng(seed).normal(0, scale, shape).astype(np.float32)


@lru_cache(maxsize=1)
def network():
    """GraphDef: conv1 - norm - relu1 - depthwise - conv2 - add (with relu1) - relu2 - maxpool - deconv - pool - dense …

    Every output channel of a convolution has weights of another size, so that scales per channel differ.
    """
    tf = tensorflow()
    v1 = tf.compat.v1

    def weights(name, shape, seed, axis=-1):
        values = numbers(*shape, seed=seed, scale=0.3)
        spread = np.linspace(0.3, 2, shape[axis], dtype=np.float32)
        return tf.constant(values * spread.reshape([-1 if a == axis % 4 else 1 for a in range(len(shape))]), name=name)

    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, [None, 8, 8, 4], name="x")
        conv1 = tf.nn.conv2d(x, weights("conv1/weights", (3, 3, 4, 8), 1), 1, "SAME", name="conv1")
        parameters = [np.abs(numbers(8, seed=2)) + 0.5, numbers(8, seed=3), numbers(8, seed=4)]
        norm, *_ = v1.nn.fused_batch_norm(
            conv1, *parameters, np.abs(numbers(8, seed=5)) + 0.5, is_training=False, name="norm"
        )
        relu1 = tf.nn.relu(norm, name="relu1")
        depthwise = tf.nn.depthwise_conv2d(
            relu1, weights("depthwise/weights", (3, 3, 8, 2), 6, axis=2), [1, 1, 1, 1], "SAME", name="depthwise"
        )
        conv2 = tf.nn.conv2d(depthwise, weights("conv2/weights", (1, 1, 16, 8), 7), 1, "SAME", name="conv2")
        relu2 = tf.nn.relu(tf.add(conv2, relu1, name="add"), name="relu2")
        maxpool = tf.nn.max_pool2d(relu2, 2, 2, "VALID", name="maxpool")
        deconv = tf.raw_ops.Conv2DBackpropInput(
            input_sizes=[SAMPLES, 8, 8, 6],
            filter=weights("deconv/weights", (3, 3, 6, 8), 8, axis=2),
            out_backprop=maxpool,
            strides=[1, 2, 2, 1],
            padding="SAME",
            name="deconv",
        )
        pool = tf.nn.avg_pool2d(deconv, 2, 2, "VALID", name="pool")
        rows = tf.reshape(pool, [-1, 6], name="rows")
        dense = tf.matmul(rows, tf.constant(numbers(6, 5, seed=9)), name="dense")
        dense = tf.nn.bias_add(dense, tf.constant(numbers(5, seed=10)), name="dense/bias")
        head = tf.matmul(tf.tanh(dense), tf.constant(numbers(5, 5, seed=11)), name="head")
        tokens = tf.reshape(head, [-1, 16, 5], name="tokens")
        scores = tf.raw_ops.BatchMatMulV2(x=tokens, y=tf.transpose(tokens, [0, 2, 1]), name="scores")
        tf.identity(scores, name="out")
    return graph.as_graph_def()


def batches():
    """Batches whose range grows from one to the next; heavy tails, and channels of very different size."""
    spread = np.array([1, 6, 0.1, 3])
    values = np.random.default_rng(20).standard_t(4, (SAMPLES, 8, 8, 4)) * spread
    return [{"x": (values * (1 + n)).astype(np.float32)} for n in range(BATCHES)]


@lru_cache(maxsize=128)
def produce(config=""):
    """What ``calibrant.quantize`` makes of the network under a configuration."""
    return calibrant.quantize(network(), config=config or "batch_num : 1", data=batches(), outputs=["out"])


@dataclass(frozen=True)
class Found:
    """Constants of the quantize/dequantize pair in front of one input."""

    scale: float
    offset: int
    inverse: float
    reads: str


def quantizer(result, node, index=0):
    """The pair that the emitted graph has in front of an input; None where it reads the float tensor."""
    graph = result.fakequant
    last = graph.producer(nd.data_inputs(graph.nodes[node])[index])
    if not last.name.rpartition("/")[2].startswith("dequantized"):
        return None
    centred = graph.producer(nd.data_inputs(last)[0])
    codes, offset = nd.data_inputs(centred)
    shifted = graph.producer(nd.data_inputs(graph.producer(codes))[0])
    scaled = graph.producer(nd.data_inputs(graph.producer(nd.data_inputs(shifted)[0]))[0])
    assert [n.op for n in (last, centred, shifted, scaled)] == ["Mul", "Sub", "AddV2", "MulNoNan"]
    tensor, inverse = nd.data_inputs(scaled)
    return Found(
        scale=float(_factor(graph, nd.data_inputs(last)[1])),
        offset=int(_factor(graph, offset)),
        inverse=float(_factor(graph, inverse)),
        reads=tensor,
    )


def _factor(graph, tensor):
    """The value of a constant that the optimizer is kept from seeing."""
    node = graph.producer(tensor)
    assert node.op == "PlaceholderWithDefault"
    return graph.constant(nd.data_inputs(node)[0])


def data_index(result, node):
    """The input index of a layer's activation."""
    return 2 if result.fakequant.nodes[node].op == "Conv2DBackpropInput" else 0


def layer_quantizer(result, layer):
    """The pair in front of a layer's activation."""
    return quantizer(result, layer, data_index(result, layer))


def weights(result, layer):
    """The weights that a layer of the emitted graph reads."""
    graph = result.fakequant
    return graph.constant(nd.data_inputs(graph.nodes[layer])[1])


def float_weights(result, layer):
    """The weights of the folded float graph."""
    graph = result.folded.graph
    return graph.constant(nd.data_inputs(graph.nodes[layer])[1])


def recorded(result, entry):
    """The fields of one entry of the record file that is written, as text by name."""
    text = result_files(result)["record.txt"].decode()
    for block in text.split("record {")[1:]:
        lines = [line.strip() for line in block.splitlines()]
        if f'key: "{entry}"' in lines:
            fields = {}
            for line in lines[2:]:
                name, separator, value = line.partition(": ")
                if separator:
                    fields.setdefault(name, []).append(value)
            return fields
    return None


def scales_of_weights(result, layer):
    """scale_w of the record file."""
    return np.array([float(value) for value in recorded(result, layer)["scale_w"]], np.float32)


def codes_of_weights(result, layer):
    """The emitted weights in steps of their scale; checked to be whole numbers."""
    scale, values = scales_of_weights(result, layer), weights(result, layer)
    kind = result.fakequant.nodes[layer].op
    axes = {"Conv2D": (3,), "DepthwiseConv2dNative": (2, 3), "Conv2DBackpropInput": (2,)}.get(kind, ())
    shape = [size if axis in axes else 1 for axis, size in enumerate(values.shape)] if scale.size > 1 else [1]
    codes = values / scale.reshape(shape)
    np.testing.assert_allclose(codes, np.rint(codes), atol=1e-4)
    return np.rint(codes).astype(int)


def outputs(graph):
    """What a graph makes of the first batch."""
    return run_once(graph, batches()[0])[0]

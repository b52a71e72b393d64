"""FakeQuant nodes that no layer reads keep their clipping and rounding."""

from __future__ import annotations

import numpy as np
import pytest
from tensorflow.core.framework.graph_pb2 import GraphDef

from calibrant.conversion import ConvertedModels, convert_trained
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import numbers, tf
from trained_networks import constant, frozen, tf1

SHAPE = (8, 8, 3)
IMAGES = numbers(8, *SHAPE, scale=2.0)
fake = tf.quantization.fake_quant_with_min_max_vars


def layer(x):
    """A convolution with trained weights."""
    weights = fake(constant(3, 3, x.shape[-1], 4), -1.0, 1.0, narrow_range=True)
    return tf1.nn.conv2d(x, weights, [1, 1, 1, 1], "SAME")


def clipped(x, **options):
    """What a layer made, above 1 in many places, with a range up to 1."""
    return fake(tf.nn.relu(layer(fake(x, -3.0, 3.0))), 0.0, 1.0, **options)


def added(x, **options):
    """A layer and an addition read one tensor."""
    x = clipped(x, **options)
    return layer(x) + x


def transposed(x):
    weights = fake(constant(5, 3), -1.1, 1.1, narrow_range=True)
    return tf.matmul(fake(tf.reduce_mean(x, [1, 2]), -2.0, 2.0), weights, transpose_b=True)


def transposed_rows(x):
    weights = fake(constant(5, 3), -1.1, 1.1, narrow_range=True)
    return tf.raw_ops.BatchMatMulV2(x=fake(tf.reduce_mean(x, 1), -2.0, 2.0), y=weights, adj_y=True)


def pooled(x):
    """The two readers are behind an operation that keeps values."""
    x = tf.nn.max_pool2d(clipped(x), 2, 2, "VALID")
    return tf.concat([layer(x), x], -1)


def signed(x):
    """A narrow range that a layer reads."""
    return layer(fake(layer(fake(x, -3.0, 3.0)), -0.5, 0.5, narrow_range=True))


def computed(x):
    """A range, and weights, that operations make of constants."""
    x = fake(tf.nn.relu(layer(fake(x, -3.0, 3.0))), 0.0, tf1.abs(constant(1)[0]) + 0.5)
    weights = fake(tf.reshape(constant(4, 20) * 0.5, [1, 1, 4, 20]), -0.6, 0.6, narrow_range=True)
    return tf1.nn.conv2d(x, weights, [1, 1, 1, 1], "SAME") + tf.reduce_max(x)


def per_channel(x):
    """Ranges of channels."""
    lows, highs = np.zeros(4, np.float32), np.array([0.2, 0.4, 0.6, 1.0], np.float32)
    return tf.quantization.fake_quant_with_min_max_vars_per_channel(clipped(x), lows, highs)


def normed(x):
    """A norm that reads one FakeQuant, and another between it and a layer."""
    ones = np.ones(3, np.float32)
    x = tf1.nn.fused_batch_norm(fake(x, -3.0, 3.0), 2 * ones, ones, 0 * ones, ones, is_training=False)[0]
    return layer(fake(x, -4.0, 5.0))


def read_twice(x):
    """Two equal nodes in a row, of which both are read."""
    inner = clipped(x)
    return layer(fake(inner, 0.0, 1.0)) + inner


def looped(x):
    """A node inside a loop of TensorFlow 1.x."""
    tf1.disable_control_flow_v2()
    try:
        state = clipped(x)
        return layer(tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, fake(y * 1.5, 0.0, 1.0)), [0, state])[1])
    finally:
        tf1.enable_control_flow_v2()


NETWORKS = {
    "layer and addition": (added, 2),
    "layer and addition, narrow range": (lambda x: added(x, narrow_range=True), 2),
    "mean": (lambda x: tf.reduce_mean(clipped(x), [1, 2]), 2),
    "output": (clipped, 2),
    "behind Identity": (lambda x: tf.identity(tf.identity(clipped(x))), 2),
    "layer and concatenation behind a pool": (pooled, 3),
    "another FakeQuant, then a layer": (lambda x: layer(fake(clipped(x), 0.0, 2.0)), 3),
    "an equal FakeQuant, then a layer": (lambda x: layer(fake(clipped(x), 0.0, 1.0)), 2),
    "an equal FakeQuant, and an addition": (read_twice, 3),
    "narrow range": (signed, 2),
    "ranges of channels": (per_channel, 2),
    "empty range": (lambda x: layer(fake(clipped(x), 0.0, 0.0)) + clipped(x), 4),
    "loop": (looped, 2),
    "norm between two": (normed, 2),
    "factor after it": (lambda x: clipped(x) * np.arange(1, 5, dtype=np.float32), 2),
    "computed from constants": (computed, 3),
    "range as attributes": (lambda x: tf.quantization.fake_quant_with_min_max_args(clipped(x), 0.0, 0.5) * 2, 3),
    "weights read transposed": (transposed, 1),
    "rows of weights read transposed": (transposed_rows, 1),
    "other quantizer": (lambda x: tf.quantization.quantize_and_dequantize_v2(clipped(x), 0.0, 0.7, True), 2),
}
"""What reads a FakeQuant → the network, and how many AscendQuant its file has at most."""


@pytest.mark.parametrize("name", NETWORKS)
def test_the_models_have_the_numbers_of_the_trained_graph(name):
    build, quantizers = NETWORKS[name]
    definition = frozen(build, *SHAPE)
    converted, _ = convert_trained(definition, outputs=["output"])
    models = ConvertedModels(converted, "net")
    deployed = GraphDef.FromString(models.files()["net_quantized.pb"])
    (expected,) = run_once(load(definition, outputs=["output"]), {"input": IMAGES})
    for graph in (models.fakequant, load(deployed, outputs=["output"])):
        (found,) = run_once(graph, {"input": IMAGES})
        error = np.square(found - expected, dtype=np.float64).mean()
        assert error <= np.square(expected, dtype=np.float64).mean() * 10**-4.5
    assert sum(node.op == "AscendQuant" for node in deployed.node) <= quantizers


def test_a_layer_and_an_addition_share_a_quantizer():
    converted, _ = convert_trained(frozen(lambda x: added(x, name="q"), *SHAPE), outputs=["output"])
    (tensor,) = converted.network.tensors
    assert (tensor.node, tensor.tensor) == ("q", converted.network.layers[1].inputs[0].tensor)


def test_what_only_layers_read_is_quantized_by_them_alone():
    def build(x):
        x = clipped(x)
        return layer(x) + layer(tf.nn.max_pool2d(x, 1, 1, "VALID"))

    converted, _ = convert_trained(frozen(build, *SHAPE), outputs=["output"])
    assert converted.network.tensors == ()
    assert converted.warnings == ()


def test_nodes_that_no_quantizer_stands_for_are_named():
    converted, _ = convert_trained(frozen(per_channel, *SHAPE), outputs=["output"])
    (warning,) = converted.warnings
    assert "1 FakeQuant nodes on activations have a range per channel" in warning
    assert warning.endswith(": FakeQuantWithMinMaxVarsPerChannel")


def test_behind_a_long_chain_a_layer_quantizes_by_itself():
    def build(x):
        x = clipped(x)
        y = x
        for _ in range(1200):
            y = tf.nn.relu(y)
        return layer(x) + layer(fake(y, 0.0, 1.0))

    converted, _ = convert_trained(frozen(build, *SHAPE), outputs=["output"])
    assert converted.network.tensors == ()

"""Networks as quantization-aware training leaves them: FakeQuant nodes on weights and activations."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

tf1 = tf.compat.v1


def frozen(build, *shape):
    """The GraphDef of ``build(placeholder)``, which may make no variables; input ``input``, output ``output``."""
    with tf.Graph().as_default() as graph:
        tf.identity(build(tf1.placeholder(tf.float32, [None, *shape], "input")), name="output")
    return graph.as_graph_def()


def constant(*shape, seed=0, scale=0.25):
    """Random weights."""
    return tf.constant((np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32))


def two_convolutions(x, bits=8, norm=False):
    """Per-channel narrow weights, per-tensor weights, ranges that do and do not contain zero in the middle."""
    fake = tf.quantization.fake_quant_with_min_max_vars
    channels = np.linspace(0.4, 0.9, 8).astype(np.float32)
    x = fake(x, -4.0, 4.2, bits, name="q_in")
    weights = tf.quantization.fake_quant_with_min_max_vars_per_channel(
        constant(3, 3, 3, 8), -channels, channels, bits, narrow_range=True, name="q_w1"
    )
    x = tf1.nn.conv2d(x, weights, [1, 1, 1, 1], "SAME", name="conv1")
    if norm:
        gamma = np.linspace(-1.5, 1.5, 8).astype(np.float32)
        moments = np.zeros(8, np.float32), np.linspace(0.5, 2, 8).astype(np.float32)
        x = tf1.nn.fused_batch_norm(x, gamma, np.ones(8, np.float32), *moments, is_training=False, name="norm")[0]
    else:
        x = tf.nn.bias_add(x, constant(8, seed=1), name="bias1")
    x = fake(tf.nn.relu(x), 0.0, 6.0, bits, name="q_relu")
    weights = fake(constant(3, 3, 8, 4, seed=2), -1.0, 1.0, bits, name="q_w2")
    x = tf1.nn.conv2d(tf.nn.max_pool2d(x, 2, 2, "VALID"), weights, [1, 1, 1, 1], "SAME", name="conv2")
    return tf.nn.bias_add(x, constant(4, seed=3), name="bias2")

"""MobileNetV2 with the node names of TensorFlow 1's slim, random weights and norms as they are in a frozen graph."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

tf1 = tf.compat.v1
# expansion, output channels, stride of expanded_conv, expanded_conv_1 …
BLOCKS = [(1, 16, 1), (6, 24, 2), (6, 24, 1), (6, 32, 2), (6, 32, 1), (6, 32, 1), (6, 64, 2), (6, 64, 1), (6, 64, 1)]
BLOCKS += [(6, 64, 1), (6, 96, 1), (6, 96, 1), (6, 96, 1), (6, 160, 2), (6, 160, 1), (6, 160, 1), (6, 320, 1)]


class _Builder:
    def __init__(self):
        self.random = np.random.default_rng(0)

    def norm(self, x):
        """A batch norm with plausible statistics."""
        channels = x.shape[-1]
        gamma, beta, mean = (
            self.random.normal(size=channels).astype(np.float32) * 0.1 + start for start in (1, 0.1, 0)
        )
        variance = self.random.uniform(0.5, 1.5, channels).astype(np.float32)
        return tf1.nn.fused_batch_norm(
            x, gamma, beta, mean, variance, is_training=False, name="BatchNorm/FusedBatchNorm"
        )[0]

    def convolution(self, x, channels, size, stride, name, relu=True):
        """Conv2D, norm and Relu6 below one name."""
        with tf1.name_scope(name):
            weights = self.random.normal(size=(size, size, x.shape[-1], channels)) / np.sqrt(size * size * x.shape[-1])
            x = tf1.nn.conv2d(x, weights.astype(np.float32), [1, stride, stride, 1], "SAME", name="Conv2D")
            return tf.nn.relu6(self.norm(x)) if relu else self.norm(x)

    def depthwise(self, x, stride):
        """Depthwise convolution, norm and Relu6."""
        with tf1.name_scope("depthwise"):
            weights = self.random.normal(size=(3, 3, x.shape[-1], 1)).astype(np.float32) / 3
            x = tf1.nn.depthwise_conv2d_native(x, weights, [1, stride, stride, 1], "SAME", name="depthwise")
            return tf.nn.relu6(self.norm(x))

    def block(self, x, number, expansion, channels, stride):
        """One inverted residual."""
        start = x
        with tf1.name_scope(f"expanded_conv_{number}" if number else "expanded_conv"):
            if expansion > 1:
                x = self.convolution(x, expansion * x.shape[-1], 1, 1, "expand")
            x = self.convolution(self.depthwise(x, stride), channels, 1, 1, "project", relu=False)
            return x + start if stride == 1 and start.shape[-1] == channels else x


def mobilenet_v2(side=96):
    """The GraphDef: ``input`` [N, side, side, 3], ``MobilenetV2/Predictions/Reshape_1``."""
    build = _Builder()
    with tf.Graph().as_default() as graph:
        x = tf1.placeholder(tf.float32, [None, side, side, 3], "input")
        with tf1.name_scope("MobilenetV2"):
            x = build.convolution(x, 32, 3, 2, "Conv")
            for number, (expansion, channels, stride) in enumerate(BLOCKS):
                x = build.block(x, number, expansion, channels, stride)
            x = build.convolution(x, 1280, 1, 1, "Conv_1")
            with tf1.name_scope("Logits"):
                x = tf1.nn.avg_pool(x, [1, side // 32, side // 32, 1], [1, 1, 1, 1], "VALID", name="AvgPool")
                with tf1.name_scope("Conv2d_1c_1x1"):
                    weights = (build.random.normal(size=(1, 1, 1280, 1001)) / 36).astype(np.float32)
                    x = tf1.nn.conv2d(x, weights, [1, 1, 1, 1], "SAME", name="Conv2D")
                    x = tf.nn.bias_add(x, np.zeros(1001, np.float32), name="BiasAdd")
                x = tf.squeeze(x, [1, 2], name="Squeeze")
            with tf1.name_scope("Predictions"):
                tf.reshape(tf.nn.softmax(tf.reshape(x, [-1, 1001])), [-1, 1001], name="Reshape_1")
    return graph.as_graph_def()

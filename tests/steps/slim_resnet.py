"""ResNet-50 v1 with the names that TF-slim gives, and random weights."""

import numpy as np

from calibrant.graph.tensorflow import tensorflow

BLOCKS = ((64, 3, 2), (128, 4, 2), (256, 6, 2), (512, 3, 1))


def slim_resnet(width=8):
    """GraphDef of 53 convolutions and the logits; ``width`` divides every number of channels."""
    tf = tensorflow()
    v1 = tf.compat.v1
    random = np.random.default_rng(0)

    def conv(x, channels, size, stride, name, relu=True, norm=True):
        into = int(x.shape[-1])
        weights = random.normal(0, (2 / (size * size * into)) ** 0.5, (size, size, into, channels)).astype(np.float32)
        read = tf.identity(tf.constant(weights, name=f"{name}/weights"), name=f"{name}/weights/read")
        padding = "SAME"
        if stride > 1 and size > 1:
            x = tf.pad(x, [[0, 0], [size // 2] * 2, [size // 2] * 2, [0, 0]], name=f"{name.rpartition('/')[0]}/Pad")
            padding = "VALID"
        y = tf.nn.conv2d(x, read, stride, padding, name=f"{name}/Conv2D")
        if not norm:
            return tf.nn.bias_add(y, tf.zeros(channels), name=f"{name}/BiasAdd")
        parameters = [np.ones(channels, np.float32), np.zeros(channels, np.float32)]
        y, *_ = v1.nn.fused_batch_norm(
            y, *parameters, *parameters[::-1], is_training=False, name=f"{name}/BatchNorm/FusedBatchNormV3"
        )
        return tf.nn.relu(y, name=f"{name}/Relu") if relu else y

    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, [None, 64, 64, 3], name="input")
        scope = "resnet_v1_50"
        y = tf.nn.max_pool2d(conv(x, 64 // width, 7, 2, f"{scope}/conv1"), 3, 2, "SAME", name=f"{scope}/pool1/MaxPool")
        for block, (channels, units, last_stride) in enumerate(BLOCKS, start=1):
            for unit in range(1, units + 1):
                stride = last_stride if unit == units else 1
                name = f"{scope}/block{block}/unit_{unit}/bottleneck_v1"
                inner, outer = channels // width, 4 * channels // width
                if int(y.shape[-1]) != outer:
                    shortcut = conv(y, outer, 1, stride, f"{name}/shortcut", relu=False)
                else:
                    shortcut = y if stride == 1 else tf.nn.max_pool2d(y, 1, stride, "SAME", name=f"{name}/MaxPool")
                y = conv(y, inner, 1, 1, f"{name}/conv1")
                y = conv(conv(y, inner, 3, stride, f"{name}/conv2"), outer, 1, 1, f"{name}/conv3", relu=False)
                y = tf.nn.relu(tf.add(shortcut, y, name=f"{name}/add"), name=f"{name}/Relu")
        y = tf.reduce_mean(y, [1, 2], keepdims=True, name=f"{scope}/pool5")
        tf.squeeze(conv(y, 10, 1, 1, f"{scope}/logits", norm=False), [1, 2], name="out")
    return graph.as_graph_def()

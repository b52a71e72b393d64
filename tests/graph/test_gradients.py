"""Gradients of layers by their data alone: those of TensorFlow, with kernels run once for all sums."""

from contextlib import closing

import numpy as np
import pytest

from calibrant.graph.gradients import OutputGradients
from calibrant.graph.load import load
from graphs import conv, graph_def, numbers, placeholder, tf


def layers():
    x = placeholder([None, 6, 6, 2])
    first = tf.nn.relu(tf.nn.bias_add(conv(x, name="first"), numbers(4)), name="behind")
    deep = tf.nn.depthwise_conv2d(first, numbers(3, 3, 4, 1, seed=2), [1, 2, 2, 1], "VALID", name="deep")
    pooled = tf.reduce_mean(
        tf.nn.relu(deep) + tf.nn.avg_pool2d(first[:, 1:5, 1:5], 2, 2, "VALID"), [1, 2], name="pooled"
    )
    tf.identity(pooled @ numbers(4, 3, seed=5), name="out")


def products():
    x = placeholder([None, 5])
    turned = tf.matmul(tf.nn.tanh(x, name="behind"), numbers(4, 5), transpose_b=True, name="pooled")
    both = tf.matmul(turned, turned, transpose_a=True)
    tf.matmul(turned, both, name="out")


@pytest.mark.parametrize("build", [layers, products])
def test_they_are_those_of_tensorflow(build):
    definition = graph_def(build)
    graph = load(definition)
    batch = numbers(3, *graph.shape("x:0")[1:])
    tensors = ["x:0", "behind:0", "pooled:0"]
    with tf.Graph().as_default() as plain, tf.compat.v1.Session() as session:
        tf.graph_util.import_graph_def(definition, name="")
        out = plain.get_tensor_by_name("out:0")
        by = [plain.get_tensor_by_name(name) for name in tensors]
        weights = [numbers(*session.run(out, {"x:0": batch}).shape, seed=seed) for seed in (1, 2)]
        slopes = [tf.gradients(out, by, tf.constant(each)) for each in weights]
        values, expected = session.run([by, slopes], {"x:0": batch})
    with closing(OutputGradients(graph, tensors, ["out:0"])) as gradients:
        found = gradients({"x": batch}, [[each] for each in weights])
    for place, name in enumerate(tensors):
        np.testing.assert_array_equal(found[name][0], values[place])
        for one, other in zip(found[name][1], expected, strict=True):
            np.testing.assert_allclose(one, other[place], rtol=1e-5, atol=1e-6)

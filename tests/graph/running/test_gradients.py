"""Gradients of layers by their data alone: those of TensorFlow, with kernels run once for all sums."""

from contextlib import closing

import keras
import numpy as np
import pytest

from calibrant.errors import ModelError
from calibrant.graph.reading.load import load
from calibrant.graph.running.gradients import OutputGradients
from calibrant.graph.running.run import run_once
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


def common():
    x = placeholder([None, 6, 6, 2])
    first = tf.nn.relu(tf.nn.bias_add(conv(x, name="first"), numbers(4)), name="behind")
    deep = tf.nn.depthwise_conv2d(tf.identity(first), numbers(3, 3, 4, 1, seed=2), [1, 2, 2, 1], "SAME")
    pooled = tf.nn.avg_pool2d(first, 3, 2, "SAME", name="pooled")
    both = tf.squeeze(tf.reshape(tf.raw_ops.AddV2(x=tf.nn.relu6(deep), y=pooled), [-1, 3, 3, 1, 4]), [3])
    once = tf.raw_ops.AddV2(x=tf.nn.avg_pool2d(both, 3, 1, "VALID"), y=both)
    flat = tf.reshape(tf.raw_ops.AddV2(x=tf.constant(numbers(1, 3, 3, 4)), y=once), [-1, 36])
    tf.matmul(flat, numbers(36, 3, seed=5), name="out")


@pytest.mark.parametrize("build", [layers, products, common])
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
        found = gradients.back({"x": batch}, gradients.ahead({"x": batch}), [[each] for each in weights])
    for place, name in enumerate(tensors):
        np.testing.assert_array_equal(found[name][0], values[place])
        for one, other in zip(found[name][1], expected, strict=True):
            np.testing.assert_allclose(one, other[place], rtol=1e-5, atol=1e-6)


def test_the_rows_that_a_model_looks_up_in_what_it_computed():
    def build():
        x = placeholder([1, 6, 4])
        rows = tf.identity(tf.tanh(x)[0], name="rows")
        tf.gather(rows, tf.math.top_k(rows[:, 0], 3)[1], name="best")
        tf.gather(rows, [2, 2], name="out")

    graph, batch = load(graph_def(build), outputs=["out", "best"]), numbers(1, 6, 4)
    weights = [[np.ones((2, 4), np.float32), np.zeros((3, 4), np.float32)]]
    with closing(OutputGradients(graph, ["rows:0"], ["out:0", "best:0"])) as gradients:
        values, (slope,) = gradients.back({"x": batch}, gradients.ahead({"x": batch}), weights)["rows:0"]
    np.testing.assert_allclose(slope[:, 0], [0, 0, 2, 0, 0, 0])
    np.testing.assert_allclose(values, np.tanh(batch[0]), atol=1e-6)


def test_operations_whose_gradients_are_made_quickly():
    graph = load(graph_def(common))
    OutputGradients(graph, ["x:0", "behind:0"], ["out:0"], quickly=True).close()
    for build in (layers, products):
        with pytest.raises(ModelError, match="the outputs have no gradients: TensorFlow has to make them"):
            OutputGradients(load(graph_def(build)), ["behind:0"], ["out:0"], quickly=True)


@pytest.mark.parametrize("padding", ["SAME", "VALID", [[0, 0], [0, 0], [1, 0], [0, 1]]])
def test_maximum_pooling_with_channels_first(padding):
    """TensorFlow has no kernel of its own for it on a CPU; explicit padding does not even run there."""

    def build():
        first = tf.nn.tanh(placeholder([None, 2, 6, 6]), name="first")
        pooled = tf.nn.max_pool2d(first, [1, 1, 2, 3], [1, 1, 1, 2], padding, data_format="NCHW", name="pooled")
        tf.reduce_sum(pooled, [2, 3], name="out")

    batch = numbers(3, 2, 6, 6)
    with tf.GradientTape() as tape:
        x = tf.constant(np.tanh(batch).transpose(0, 2, 3, 1))
        tape.watch(x)
        edges = padding if isinstance(padding, str) else [padding[axis] for axis in (0, 2, 3, 1)]
        total = tf.reduce_sum(tf.nn.max_pool2d(x, [1, 2, 3, 1], [1, 1, 2, 1], edges) * numbers(3, 1, 1, 2, seed=4))
    with closing(OutputGradients(load(graph_def(build)), ["first:0"], ["out:0"])) as gradients:
        weights = [[numbers(3, 1, 1, 2, seed=4).reshape(3, 2)]]
        _, (found,) = gradients.back({"x": batch}, gradients.ahead({"x": batch}), weights)["first:0"]
    np.testing.assert_allclose(found.transpose(0, 2, 3, 1), tape.gradient(total, x), rtol=1e-6)


def test_what_is_not_between_the_tensors_and_the_outputs_may_be_anything():
    def build():
        first = tf.tanh(placeholder([None, 4]), name="first")
        tf.nn.softmax(tf.matmul(tf.identity(first, "read"), numbers(4, 3), name="scores"), name="out")

    graph = load(graph_def(build))
    batch, weights = {"x": numbers(2, 4)}, numbers(2, 3)
    with closing(OutputGradients(graph, ["read:0"], ["scores:0"], quickly=True)) as gradients:
        ahead = gradients.ahead(batch)
        values, (slopes,) = gradients.back(batch, ahead, [[weights]])["read:0"]
    for one, other in zip([values, *ahead.outputs], run_once(graph, batch, ["first:0", "scores:0"]), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(slopes, weights @ numbers(4, 3).T, rtol=1e-6)


def test_a_batch_that_the_graph_does_not_take():
    graph = load(graph_def(common))
    wrong = {"x": numbers(2, 6, 6, 3)}
    gradients = OutputGradients(graph, ["behind:0"], ["out:0"])
    with closing(gradients), pytest.raises(ModelError, match="running the graph failed: "):
        gradients.ahead(wrong)


def test_a_gradient_of_the_process_that_made_the_model_is_not_asked_for(tmp_path):
    """Keras' swish names one by a number."""
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Dense(3, activation="swish")(inputs)))
    model.save(tmp_path / "net.keras")
    found = [load(source) for source in (model, tmp_path / "net.keras")]
    assert not [node.name for graph in found for node in graph.nodes.values() if "_gradient_op_type" in node.attr]
    with closing(OutputGradients(found[0], [found[0].inputs[0]], found[0].outputs)) as gradients:
        batch = {found[0].input_keys[0]: numbers(3, 4)}
        made = gradients.back(batch, gradients.ahead(batch), [[np.ones((3, 2), np.float32)]])
    with tf.GradientTape() as tape:
        x = tf.constant(numbers(3, 4))
        tape.watch(x)
        total = tf.reduce_sum(model(x))
    np.testing.assert_allclose(made[found[0].inputs[0]][1][0], tape.gradient(total, x), rtol=1e-4, atol=1e-6)

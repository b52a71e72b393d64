"""Convolutions between SpaceToBatch and BatchToSpace in LiteRT files."""

from __future__ import annotations

import numpy as np
import pytest

import calibrant
from calibrant.emit.tflite.conversion.float_graph import float_graph
from calibrant.emit.tflite.settings import TfliteSettings
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import conv, dense, graph_def, numbers, placeholder, tf, v1
from tflite_networks import exported, image, steps_apart
from this_tensorflow import skipped_without_the_operation


def spread(y, paddings, crops, kernel, steps=(2, 2)):
    """A depthwise convolution whose positions are spread over a batch by hand."""
    weights = tf.constant(numbers(*kernel, 4, 1, seed=7, scale=0.4))
    inside = tf.nn.depthwise_conv2d(v1.space_to_batch_nd(y, steps, paddings), weights, [1, 1, 1, 1], "VALID")
    return v1.batch_to_space_nd(inside, steps, crops)


FORMS = {
    "same": lambda y: v1.nn.atrous_conv2d(y, numbers(3, 3, 4, 5, seed=7, scale=0.3), 2, "SAME"),
    "valid": lambda y: v1.nn.atrous_conv2d(y, numbers(3, 3, 4, 5, seed=7, scale=0.3), 2, "VALID"),
    "steps that do not divide": lambda y: v1.nn.atrous_conv2d(y, numbers(2, 3, 4, 5, seed=7, scale=0.3), 3, "SAME"),
    "depthwise": lambda y: spread(y, [[2, 2], [2, 2]], [[0, 0], [0, 0]], (3, 3)),
    "more on one side": lambda y: spread(y, [[4, 0], [1, 3]], [[0, 0], [1, 1]], (3, 3)),
    "only down": lambda y: spread(y, [[2, 2], [0, 0]], [[0, 0], [0, 0]], (3, 1), (2, 1)),
}
KEPT = {"more is cropped than was padded": lambda y: spread(y, [[0, 0], [0, 0]], [[1, 0], [0, 0]], (3, 3))}


def network(form, bias):
    def build():
        y = form(tf.nn.relu(conv(image())))
        y = tf.nn.relu(y + numbers(int(y.shape[-1]), seed=9) if bias else y)
        dense(tf.reduce_mean(y, [1, 2]), name="last")

    return build


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_they_are_one_operator(form, bias):
    result, x = exported(graph_def(network(FORMS[form], bias)))
    apart, file = steps_apart(result, x)
    names = [each.name for each in file.operators()]
    assert not any("BATCH" in name or "SPACE" in name for name in names)
    convolutions = [each for each in file.operators() if "CONV" in each.name]
    assert len(convolutions) == 2 and convolutions[1].outputs[0].dtype == np.int8
    assert apart.max() <= 1.001 and np.mean(apart <= 0.01) >= 0.99


@pytest.mark.parametrize(
    ("form", "size"),
    [*((form, 8) for form in FORMS | KEPT), ("same", 7), ("valid", 7), ("steps that do not divide", 7)],
)
def test_the_float_graph_has_the_same_numbers(form, size):
    build = (FORMS | KEPT)[form]
    graph = load(graph_def(lambda: tf.identity(build(placeholder([None, size, size, 4])), name="out")))
    made, _ = float_graph(graph, TfliteSettings(), gelus=True)
    assert any(node.op == "SpaceToBatchND" for node in made.nodes.values()) == (form in KEPT)
    x = numbers(2, size, size, 4)
    with skipped_without_the_operation():
        computed = run_once(made, {"x": x})
    for found, wanted in zip(computed, run_once(graph, {"x": x}), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_two_that_read_one_tensor_beside_a_plain_one():
    def build():
        y = tf.nn.relu(conv(image()))
        branches = [v1.nn.atrous_conv2d(y, numbers(3, 3, 4, 4, seed=rate, scale=0.3), rate, "SAME") for rate in (2, 3)]
        dense(tf.reduce_mean(tf.nn.relu(sum(branches, conv(y, name="plain", seed=4))), [1, 2]), name="last")

    result, x = exported(graph_def(build))
    apart, file = steps_apart(result, x)
    assert sum(each.name == "CONV_2D" for each in file.operators()) == 4
    assert apart.max() <= 1.001 and np.mean(apart <= 0.01) >= 0.99


def of_sequences(padding, ahead=(0, 0), steps=2, weights=(3, 4, 5)):
    """A convolution over sequences, padded by hand where it is causal."""

    def form(y):
        y = tf.pad(y, [[0, 0], ahead, [0, 0]]) if any(ahead) else y
        return v1.nn.convolution(y, numbers(*weights, seed=7, scale=0.3), padding, dilation_rate=[steps])

    return form


SEQUENCES = {
    "causal": of_sequences("VALID", (4, 0)),
    "same": of_sequences("SAME"),
    "valid": of_sequences("VALID"),
    "an even kernel": of_sequences("SAME", weights=(4, 4, 5)),
    "steps that do not divide": of_sequences("SAME", steps=3),
}
ACTIVATIONS = {
    "": tf.identity,
    "relu": tf.nn.relu,
    "bias and relu6": lambda y: tf.nn.relu6(y + numbers(5, seed=9)),
    "relu twice": lambda y: tf.nn.relu(tf.nn.relu(y)),
}


def sequence_network(form, activation=tf.identity, length=16):
    def build():
        y = activation(form(placeholder([None, length, 4])))
        tf.nn.conv1d(y, numbers(3, 5, 3, seed=4, scale=0.3), 1, "SAME", name="last")

    return build


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("form", SEQUENCES)
def test_over_sequences_they_are_one_operator_with_the_activation(form, activation):
    result, x = exported(graph_def(sequence_network(SEQUENCES[form], ACTIVATIONS[activation])))
    apart, file = steps_apart(result, x)
    names = [each.name for each in file.operators()]
    assert not any("BATCH" in name or "SPACE" in name or "RELU" in name for name in names)
    first, last = (each for each in file.operators() if each.name == "CONV_2D")
    assert first.options.dilationWFactor > 1 and (first.options.fusedActivationFunction > 0) == ("relu" in activation)
    assert first.outputs[0].dtype == last.outputs[0].dtype == np.int8
    assert apart.max() <= 1.001 and np.mean(apart <= 0.01) >= 0.99


@pytest.mark.parametrize("length", [16, 15, None])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("form", SEQUENCES)
def test_over_sequences_the_float_graph_has_the_same_numbers(form, activation, length):
    graph = load(graph_def(sequence_network(SEQUENCES[form], ACTIVATIONS[activation], length)))
    made, _ = float_graph(graph, TfliteSettings(), gelus=True)
    assert any(node.op == "SpaceToBatchND" for node in made.nodes.values()) == (length is None)
    x = numbers(2, length or 14, 4)
    with skipped_without_the_operation():
        [found] = run_once(made, {"x": x})
    np.testing.assert_allclose(found, run_once(graph, {"x": x})[0], rtol=1e-5, atol=1e-5)


def test_a_sequence_of_open_length_has_a_file():
    network = graph_def(sequence_network(SEQUENCES["same"], tf.nn.relu, None))
    result = calibrant.quantize(network, "batch_num: 1", numbers(4, 16, 4), export="tflite")
    apart, _ = steps_apart(result, numbers(4, 16, 4))
    assert apart.max() <= 1.001


def test_a_sequence_that_is_read_before_its_activation_too():
    def form(y):
        y = SEQUENCES["causal"](y)
        return y * 0.5 + tf.nn.relu(y)

    result, x = exported(graph_def(sequence_network(form)))
    apart, _ = steps_apart(result, x)
    assert apart.max() <= 1.001 and np.mean(apart <= 0.01) >= 0.99


def test_a_depthwise_sequence_has_its_activation_in_the_operator():
    def form(y):
        weights = tf.constant(numbers(1, 3, 4, 1, seed=7, scale=0.4))
        images = tf.nn.depthwise_conv2d(tf.expand_dims(y, 1), weights, [1, 1, 1, 1], "SAME", dilations=[1, 2])
        return tf.nn.relu(tf.squeeze(images, [1]))

    result, x = exported(graph_def(lambda: tf.nn.conv1d(form(placeholder([None, 16, 4])), numbers(3, 4, 3), 1, "SAME")))
    apart, file = steps_apart(result, x)
    names = [each.name for each in file.operators()]
    assert "RELU" not in names and "SPACE_TO_BATCH_ND" not in names and "DEPTHWISE_CONV_2D" in names
    assert apart.max() <= 1.001 and np.mean(apart <= 0.01) >= 0.99


def test_a_plain_sequence_has_its_activation_in_the_operator():
    result, x = exported(graph_def(sequence_network(of_sequences("SAME", steps=1), tf.nn.relu)))
    apart, file = steps_apart(result, x)
    assert not any(each.name == "RELU" for each in file.operators())
    assert apart.max() <= 1.001 and np.mean(apart <= 0.01) >= 0.99

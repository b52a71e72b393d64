"""Inputs that are one sample, as the graph adds the axis of samples."""

import pytest

from calibrant.graph.added_axis import is_one_sample
from calibrant.graph.reading.load import load
from graphs import conv, graph_def, numbers, placeholder, tf


def recognized(build, shape=(None, None, 3)):
    def whole():
        tf.identity(build(placeholder(list(shape))), name="out")

    graph = load(graph_def(whole))
    return is_one_sample(graph, graph.inputs[0])


@pytest.mark.parametrize(
    "build",
    [
        lambda x: conv(tf.expand_dims(x / 255.0, 0)),
        lambda x: conv(tf.expand_dims(x, -4)),
        lambda x: conv((x[1:, :-1] - tf.constant([1.0, 2.0, 3.0]))[tf.newaxis]),
        lambda x: conv(tf.stack([tf.image.per_image_standardization(x)])),
        lambda x: conv(tf.reshape(x, [1, 8, 8, 3])),
        lambda x: tf.image.resize(tf.expand_dims(x, 0), [8, 8]),
        lambda x: conv(tf.expand_dims(tf.image.resize(x, [8, 8]), 0)),
        lambda x: tf.nn.max_pool2d(tf.pad(tf.expand_dims(x, 0), [[0, 0], [1, 1], [1, 1], [0, 0]]), 2, 2, "VALID"),
    ],
)
def test_a_picture_with_an_axis_added_for_layers_is_one_sample(build):
    assert recognized(build)


def test_sound_of_which_a_spectrogram_is_made_is_one_sample():
    assert recognized(lambda x: tf.raw_ops.AudioSpectrogram(input=x, window_size=32, stride=16), (None, 1))


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda x: conv(tf.expand_dims(x, -1)), (None, 8, 8)),
        (lambda x: conv(x), (None, 8, 8, 3)),
        (lambda x: tf.reduce_sum(tf.expand_dims(x, 0) - numbers(4, 1, 3), -1), (None, 3)),
        (lambda x: tf.expand_dims(x, 0) * 2.0, (None, 8, 3)),
        (lambda x: conv(tf.reshape(x, [1, 8, 8, 3])), (None, 64, 3)),
        (lambda x: tf.nn.conv2d(tf.expand_dims(x, 0), numbers(1, 3, 3, 2), 1, "SAME"), (None, 8, 3)),
        (lambda x: tf.nn.max_pool2d(tf.expand_dims(x, 0), [1, 1, 4, 1], [1, 1, 4, 1], "VALID"), (None, 8, 3)),
        (lambda x: tf.image.resize(tf.expand_dims(x, 0), [tf.shape(x)[0], 4]), (None, 8, 3)),
        (lambda x: tf.image.resize(tf.transpose(x, [1, 2, 0])[tf.newaxis], [4, 4]), (None, 8, 8)),
        (lambda x: tf.raw_ops.AudioSpectrogram(input=tf.transpose(x), window_size=32, stride=16), (None, 64)),
    ],
)
def test_other_first_axes_may_be_of_samples(build, shape):
    assert not recognized(build, shape)


def test_an_axis_that_only_some_readers_add_is_not_enough():
    assert not recognized(lambda x: conv(tf.expand_dims(x, 0))[0, :, :, 0] + tf.reduce_sum(x, [1, 2]))


def test_a_picture_that_is_an_output_too_is_not_certain():
    def build():
        x = placeholder([None, None, 3])
        tf.identity(conv(tf.expand_dims(x, 0)), name="out")

    graph = load(graph_def(build), outputs=["out", "x"])
    assert not is_one_sample(graph, "x:0")

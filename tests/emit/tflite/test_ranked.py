"""What is ranked keeps the precision that it has: numbers with equal codes are equal."""

from __future__ import annotations

import pytest

from calibrant.emit.tflite.flatbuffer import File
from graphs import conv, dense, graph_def, tf
from tflite_networks import contents, exported, image, steps_apart


def scores_and_sizes():
    """The five best of 64 scores, and what belongs to them, which is many times as large."""
    y = tf.nn.relu(conv(image(), name="one"))
    scores = tf.reshape(conv(y, 1, name="two", seed=4), [-1, 64])
    sizes = tf.reshape(conv(y, 1, name="three", seed=5) * 40.0, [-1, 64])
    best, places = tf.math.top_k(scores, 5)
    return best, tf.gather(sizes, places, batch_dims=1)


def packed():
    tf.stack(scores_and_sizes(), 2, name="out")


def concatenated():
    tf.concat(scores_and_sizes(), 1, name="out")


def read_by_a_layer():
    """Whose codes reach as far as those of the sizes."""
    best, sizes = scores_and_sizes()
    dense(tf.concat([best, sizes], 1), name="out")


def read_with_others():
    best, sizes = scores_and_sizes()
    tf.stack([best, sizes, best - sizes], 2, name="out")


def operator(result, name):
    [found] = [each for each in File(contents(result)[0]).operators() if each.name == name]
    return found


def test_what_was_left_in_float_is_ranked_in_float():
    result, _ = exported(graph_def(packed), config='batch_num: 4\nskip_layers: "two"', refine=False)
    assert not operator(result, "TOPK_V2").is_integer and operator(result, "GATHER").is_integer


def test_what_was_left_in_float_is_compared_with_its_largest_in_float():
    def build():
        y = conv(tf.nn.relu(conv(image(), name="one")), name="two", seed=4)
        peaks = tf.cast(tf.equal(tf.nn.max_pool2d(y, 3, 1, "SAME"), y), tf.float32)
        conv(peaks * y, name="out", seed=5)

    result, _ = exported(graph_def(build), config='batch_num: 4\nskip_layers: "two"', refine=False)
    assert not operator(result, "EQUAL").is_integer and not operator(result, "MAX_POOL_2D").is_integer


@pytest.mark.parametrize("build", [packed, concatenated, read_by_a_layer, read_with_others])
def test_the_scale_of_what_is_ranked_is_its_own(build):
    result, x = exported(graph_def(build), refine=False)
    ranking = operator(result, "TOPK_V2")
    assert ranking.is_integer
    assert float(ranking.read(0).scale[0]) == float(ranking.outputs[0].scale[0]) < 0.05
    apart, _ = steps_apart(result, x)
    assert apart.max() <= 1.001

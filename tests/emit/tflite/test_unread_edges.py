"""Convolutions whose last window ends before the image does, run by XNNPACK."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant.graph.running.run import run_once
from graphs import conv, dense, graph_def, numbers, placeholder, tf
from tflite_networks import computed, exported


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize(
    ("height", "width", "window", "stride"), [(16, 16, 3, 4), (16, 17, 3, 4), (9, 12, 2, 3), (6, 7, 1, 3)]
)
def test_no_window_reads_beyond_the_image(height, width, window, stride, depthwise):
    def build():
        y = tf.nn.relu(conv(placeholder([None, height, width, 3]), 4, name="one"))
        weights = tf.constant(numbers(window, window, 4, 2, seed=3))
        if depthwise:
            y = tf.nn.depthwise_conv2d(y, weights, [1, stride, stride, 1], "SAME", name="two")
        else:
            y = tf.nn.conv2d(y, weights, stride, "SAME", name="two")
        dense(tf.reduce_mean(tf.nn.relu(y), [1, 2]), name="out")

    result, x = exported(graph_def(build), count=8)
    made, simulated, _ = computed(result, x)
    np.testing.assert_array_equal(made[0], simulated[0])
    [wanted] = run_once(result.original, {"x": x})
    assert np.mean((made[0] - wanted) ** 2) < 0.002 * np.mean(wanted**2)

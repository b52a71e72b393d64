"""What is no number has a code in the simulation of a LiteRT file: kernels that look codes up find one."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant.graph.running.run import run_once
from graphs import conv, graph_def, numbers, tf
from tflite_networks import contents, exported, image

LOOKED_UP = {
    "one code": tf.tanh,
    "a slope for each channel": lambda y: tf.nn.relu(y) + numbers(4, seed=8) * (y - tf.abs(y)) * 0.5,
    "two codes": lambda y: tf.math.squared_difference(y, tf.nn.relu(y)),
    "two codes that are compared": lambda y: tf.where(y > tf.roll(y, 1, 3), y, -y),
    "exponentials": tf.nn.softmax,
    "resized": lambda y: tf.raw_ops.ResizeBilinear(images=y, size=(13, 21)),
    "as they are": lambda y: tf.nn.max_pool2d(y, 2, 2, "SAME"),
}


@pytest.mark.parametrize("form", LOOKED_UP)
def test_what_is_no_number_counts_as_zero(form):
    def build():
        y = LOOKED_UP[form](conv(image(), name="one"))
        tf.identity(conv(y, name="two", seed=4), name="out")

    result, x = exported(graph_def(build))
    _, simulation = contents(result)
    without, zeroed = x.copy(), x.copy()
    without[1, 2:4, 3] = np.nan
    zeroed[1, 2:4, 3] = 0
    [found], [wanted] = (run_once(simulation, {"x": fed}) for fed in (without, zeroed))
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, wanted)

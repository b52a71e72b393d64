"""A bias that is added along another axis than that of the channels."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant import quantize
from calibrant.graph.layers import find_layers
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from calibrant.report.bias_axes import bias_axis_warnings
from graphs import dense, graph_def, numbers, placeholder, tf
from this_tensorflow import skipped_without_the_operation


def biased(data_format, count=1):
    def build():
        y = placeholder([None, 2, 5, 6])
        for at in range(count):
            weights = tf.constant(numbers(3, 3, int(y.shape[1]), 6, seed=at, scale=0.3))
            y = tf.nn.conv2d(y, weights, 1, "SAME", name=f"conv{at}", data_format="NCHW")
            y = tf.nn.bias_add(y, tf.constant(numbers(6, seed=5)), data_format=data_format, name=f"bias{at}")
        tf.identity(dense(tf.reshape(y, [-1, 180])), name="out")

    return graph_def(build)


def test_a_bias_along_the_last_axis_is_no_bias_of_the_layer():
    along_width, along_channels = (find_layers(load(biased(each)))[0][0] for each in ("NHWC", "NCHW"))
    assert (along_width.bias, along_channels.bias) == (None, "bias0")


@pytest.mark.parametrize("count", [1, 3])
def test_the_report_warns_of_it(count):
    with skipped_without_the_operation():
        result = quantize(biased("NHWC", count), data=numbers(32, 2, 5, 6))
    (warning,) = [text for text in result.report["warnings"] if "added along the last axis" in text]
    assert "'bias0'" in warning and "'conv0'" in warning and ("2 more" in warning) == (count == 3)
    assert not bias_axis_warnings(load(biased("NCHW", count)))


def test_it_is_computed_as_written():
    data = numbers(4, 2, 5, 6)
    weights, bias = numbers(3, 3, 2, 6, scale=0.3), numbers(6, seed=5)
    y = tf.transpose(tf.nn.conv2d(tf.transpose(data, [0, 2, 3, 1]), weights, 1, "SAME"), [0, 3, 1, 2]) + bias
    with skipped_without_the_operation():
        found = run_once(load(biased("NHWC")), {"x": data}, ["bias0:0"])[0]
    np.testing.assert_allclose(found, y, atol=1e-5)

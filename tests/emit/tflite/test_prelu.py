"""PReLU as old code writes it out is one operator of a LiteRT file."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant.algorithms.sqnr import arrays_sqnr_db
from calibrant.emit.tflite.conversion.float_file import float_file
from calibrant.emit.tflite.conversion.float_graph import float_graph
from calibrant.emit.tflite.settings import TfliteSettings
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import conv, dense, graph_def, numbers, placeholder, tf
from tflite_networks import computed, exported, image

SPELLINGS = {
    "minus of minus": lambda y, a: tf.nn.relu(y) + a * -tf.nn.relu(-y),
    "subtracted": lambda y, a: tf.nn.relu(y) - a * tf.nn.relu(-y),
    "minus a": lambda y, a: tf.nn.relu(y) + (-a) * tf.nn.relu(-y),
    "absolute": lambda y, a: tf.nn.relu(y) + a * (y - tf.abs(y)) * 0.5,
    "absolute, halved": lambda y, a: tf.nn.relu(y) + a * (y - tf.abs(y)) / 2.0,
    "half of both": lambda y, a: (1 + a) * 0.5 * y + (1 - a) * 0.5 * tf.abs(y),
    "largest and smallest": lambda y, a: tf.maximum(0.0, y) + a * tf.minimum(0.0, y),
    "smallest first": lambda y, a: tf.minimum(y, 0.0) * a + tf.maximum(y, 0.0),
    "largest of two": lambda y, a: tf.maximum(a * y, y),
    "chosen": lambda y, a: tf.where(y > 0.0, y, a * y),
    "chosen below": lambda y, a: tf.where(tf.less_equal(y, 0.0), y * a, y),
    "chosen by zero": lambda y, a: tf.where(tf.less(0.0, y), y, a * y),
    "chosen as before": lambda y, a: tf.compat.v1.where(y >= tf.zeros_like(y), y, a * y),
}
SLOPES = np.abs(numbers(4, seed=9, scale=0.3)) / 4 + 0.05


def network(spelling, slopes, features=image):
    return graph_def(lambda: conv(spelling(conv(features(), name="one"), slopes), name="out", seed=4))


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize(("slopes", "operator"), [(SLOPES, "PRELU"), (np.float32(0.2), "LEAKY_RELU")], ids=["", "one"])
def test_one_operator_is_made_of_it(name, slopes, operator):
    model = network(SPELLINGS[name], slopes)
    result, x = exported(model, refine=False)
    [made], [simulated], names = computed(result, x)
    assert names == {"QUANTIZE", "CONV_2D", operator, "DEQUANTIZE"}
    np.testing.assert_allclose(made, simulated, atol=1e-5)
    [wanted] = run_once(load(model), {"x": x})
    assert arrays_sqnr_db(wanted, made) > 30


@pytest.mark.parametrize("slopes", [numbers(8, 8, 4, scale=0.1), numbers(1, 1, 1, 4), numbers(8, 1, 4, scale=0.1)])
def test_slopes_of_places(slopes):
    result, x = exported(network(SPELLINGS["minus of minus"], slopes), refine=False)
    [made], [simulated], names = computed(result, x)
    assert "PRELU" in names and "MUL" not in names
    np.testing.assert_allclose(made, simulated, atol=1e-5)


def test_slopes_of_features():
    def build():
        y = SPELLINGS["minus of minus"](dense(placeholder([None, 6]), 4, name="one"), SLOPES)
        dense(y, name="out", seed=4)

    result, _ = exported(graph_def(build), refine=False)
    assert result.export_notes["tflite"]["operators_in_float"] == []
    assert computed(result, numbers(8, 6))[2] == {"QUANTIZE", "FULLY_CONNECTED", "PRELU", "DEQUANTIZE"}


def of_another(y, a):
    return tf.nn.relu(y) - a * tf.nn.relu(-(y + 1.0))


OTHERS = {
    "of another": of_another,
    "steeper above": lambda y, a: tf.nn.relu(y) * 1.5 - a * tf.nn.relu(-y),
    "chosen elsewhere": lambda y, a: tf.where(y > 0.5, y, a * y),
    "not alone": lambda y, a: tf.nn.relu(y) - a * tf.nn.relu(-y) + y * y,
    "of a batch": lambda y, a: tf.nn.relu(y[:2]) - numbers(2, 1, 1, 4) * tf.nn.relu(-y[:2]),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_prelu_has_the_same_numbers(name):
    graph = load(network(OTHERS[name], SLOPES))
    plain, _ = float_graph(graph, TfliteSettings(), gelus=True)
    x = numbers(2, 8, 8, 4)
    [wanted], [made] = run_once(graph, {"x": x}), run_once(plain, {"x": x})
    np.testing.assert_allclose(made, wanted, rtol=1e-5, atol=1e-5)


def test_channels_in_front():
    def build():
        y = placeholder([None, 4, 8, 8])
        for seed in (1, 2):
            y = SPELLINGS["minus of minus"](y, SLOPES.reshape(4, 1, 1))
            y = tf.nn.conv2d(y, tf.constant(numbers(3, 3, 4, 4, seed=seed)), 1, "SAME", data_format="NCHW")
        tf.identity(SPELLINGS["subtracted"](y, SLOPES.reshape(4, 1, 1)), name="out")

    made = float_file(load(graph_def(build)), [], [], TfliteSettings())
    names = [each.name for each in made.file.operators()]
    assert names.count("PRELU") == 3 and set(names) == {"TRANSPOSE", "CONV_2D", "PRELU"}

"""Constants among numbers in whose scale they have no code."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import conv, graph_def, tf
from tflite_networks import computed, exported, image

ADDED = np.linspace(-1, 1, 36, dtype=np.float32).reshape(3, 3, 4)
CASES = {
    "cumulative product": lambda y: tf.math.cumprod(0.97 - 0.06 * tf.sigmoid(y), 1),
    "exclusive product": lambda y: tf.math.cumprod(0.97 - 0.06 * tf.sigmoid(y), 1, exclusive=True),
    "cumulative logsumexp": lambda y: tf.math.cumulative_logsumexp(y / 4 - 3, 2),
    "dilation": lambda y: tf.nn.dilation2d(y / 4, ADDED, [1] * 4, "SAME", "NHWC", [1] * 4),
    "maximum, less what it is of": lambda y: tf.maximum(y, 9.0) - y,
    "padded, less what it is of": lambda y: tf.pad(y[:, 1:], [[0, 0], [1, 0], [0, 0], [0, 0]], constant_values=9.0) - y,
    "chosen, less what it is of": lambda y: tf.where(tf.range(4) < 3, y, 9.0) - y,
    "compared with what it is of": lambda y: of_larger(y, tf.where(tf.range(4) < 3, y, 9.0)),
    "beside what it is of": lambda y: tf.concat([y, tf.pad(y, [[0, 0]] * 3 + [[0, 1]], constant_values=9.0)], 3) * 3.0,
}


def of_larger(y, other):
    return other * tf.cast(other >= y, tf.float32)


@pytest.mark.parametrize("name", CASES)
def test_such_a_constant_keeps_its_value(name):
    model = graph_def(lambda: tf.identity(CASES[name](conv(image(), name="one")), name="out"))
    result, x = exported(model)
    [made], _, _ = computed(result, x)
    [wanted] = run_once(load(model), {"x": x})
    assert np.square(made - wanted).mean() < 3e-3 * np.square(wanted).mean()


SURROUNDED = [[0, 0], [3, 3], [3, 3], [0, 0]]
ONLY_CONSTANTS = {
    "masked rows": lambda y: tf.reduce_max(tf.where(tf.constant(np.tri(8, k=-1)[:, :, None] > 0), y, -100.0), 2),
    "masked rows, the smallest": lambda y: tf.reduce_min(
        tf.where(tf.constant(np.tri(8, k=-1)[:, :, None] > 0), y, 100.0), 2
    ),
    "rows masked by data": lambda y: tf.reduce_max(tf.where(y[..., :1] > 0.5, y, -100.0), 2),
    "padded pool": lambda y: tf.nn.max_pool2d(tf.pad(y, SURROUNDED, constant_values=-100.0), 3, 2, "VALID"),
}


@pytest.mark.parametrize("name", ONLY_CONSTANTS)
def test_a_constant_that_is_chosen_keeps_its_value(name):
    """In some windows there is nothing else to choose."""
    model = graph_def(lambda: tf.identity(ONLY_CONSTANTS[name](conv(image(), name="one")), name="out"))
    result, x = exported(model)
    [made], _, _ = computed(result, x)
    [wanted] = run_once(load(model), {"x": x})
    assert np.any(np.abs(wanted) == 100)
    assert np.square(made - wanted).mean() < 1e-4 * np.square(wanted).mean()


def test_a_constant_may_be_chosen_that_the_last_choice_passes_over():
    def build():
        masked = tf.where(tf.constant(np.tri(8, k=-1)[:, :, None] > 0), conv(image(), name="one"), -100.0)
        tf.reduce_max(tf.reduce_max(masked, 2), 1, name="out")

    result, x = exported(graph_def(build))
    assert "SELECT_V2" not in {each["operator"] for each in result.export_notes["tflite"]["operators_in_float"]}


@pytest.mark.parametrize("constant", [-9.0, np.finfo(np.float32).min])
def test_what_nothing_chooses_may_be_any_number(constant):
    def build():
        padded = tf.pad(conv(image(), name="one"), [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=constant)
        tf.nn.max_pool2d(padded, 3, 1, "VALID", name="out")

    result, x = exported(graph_def(build))
    assert not result.export_notes["tflite"]["operators_in_float"]

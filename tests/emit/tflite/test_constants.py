"""Constants where others have activations: the float file has to have their numbers."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant.emit.tflite.conversion import name_check
from calibrant.errors import ModelError
from calibrant.evaluation.tflite_runner import TfliteRunner
from calibrant.graph.running.run import run_once
from graphs import graph_def, numbers, placeholder, tf
from tflite_networks import contents, exported, steps_apart


def grouped():
    """A product of an activation and a constant with groups."""
    return tf.matmul(placeholder([None, 2, 5, 8]), tf.constant(numbers(2, 8, 16, seed=3, scale=0.3)))


def constant_first():
    return tf.matmul(tf.constant(numbers(2, 6, 5, seed=3, scale=0.3)), placeholder([None, 2, 5, 8]))


def behind_the_batch():
    """A product of what depends on nothing but the number of samples."""
    x = placeholder([None, 12])
    same = tf.tile(tf.constant(numbers(1, 12, seed=4)), [tf.shape(x)[0], 1])
    weights = [tf.constant(numbers(12, 12, seed=seed, scale=0.3)) for seed in (5, 6)]
    return tf.nn.relu(tf.matmul(x, weights[0]) + tf.matmul(same, weights[1]))


@pytest.mark.parametrize("batch", [None, 4])
@pytest.mark.parametrize("build", [grouped, constant_first, behind_the_batch])
def test_their_numbers_stay(build, batch):
    model = graph_def(lambda: tf.identity(build(), name="out"))
    result, x = exported(model, tflite_batch=batch)
    x = x[: batch or len(x)]
    apart, _ = steps_apart(result, x)
    assert apart.max() <= 1.001
    runner = TfliteRunner(contents(result)[0])
    runner.run({0: x})
    found, [wanted] = runner.real(runner.points[0]), run_once(result.folded.graph, {"x": x})
    assert np.square(found - wanted).sum() < 1e-3 * np.square(wanted).sum()


def test_a_float_file_with_other_numbers_is_refused(monkeypatch):
    right = name_check.run_once
    monkeypatch.setattr(name_check, "run_once", lambda *given: [-each for each in right(*given)])
    with pytest.raises(ModelError, match=r"out: .*computes other numbers \(relative difference 2\)"):
        exported(graph_def(lambda: tf.identity(grouped(), name="out")))

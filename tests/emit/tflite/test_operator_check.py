"""Operators of a LiteRT file beside their simulation, in one run of it or in several."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant.emit.tflite.flatbuffer import File
from calibrant.emit.tflite.sample import as_fed
from calibrant.emit.tflite.simulation import parts
from calibrant.emit.tflite.simulation.operator_check import operator_differences, run_file
from calibrant.emit.tflite.simulation.simulate import simulate
from graphs import conv, dense, graph_def, tf
from tflite_networks import contents, exported, image


def network():
    y = tf.nn.relu(conv(image(), name="one"))
    y += tf.sigmoid(conv(y, name="two", seed=4))
    first, second = tf.split(y, 2, -1)
    y = tf.concat([second * 2.0, tf.nn.softmax(first)], -1)
    tf.identity(dense(tf.reduce_mean(y, [1, 2]), name="last"), name="out")


@pytest.fixture(scope="module")
def run():
    result, x = exported(graph_def(network))
    file = File(contents(result)[0])
    fed = as_fed(file, {0: x[:2]})
    return file, run_file(file.content(), fed, file.used())


@pytest.mark.parametrize("most", [1, 300])
def test_it_does_not_matter_how_many_are_simulated_at_once(run, monkeypatch, most):
    file, values = run
    spoilt = dict(values)
    index = next(each.outputs[0].index for each in file.operators() if each.name == "LOGISTIC")
    spoilt[index] = np.roll(spoilt[index], 1)
    simulation = simulate(file, {0: "x:0"})
    whole = operator_differences(file, simulation, [values, spoilt])
    monkeypatch.setattr(parts, "MOST_NUMBERS", most)
    monkeypatch.setattr(parts, "MOST_PARTS", 1_000_000)
    assert operator_differences(file, simulation, [values, spoilt]) == whole
    assert max(each.steps for each in whole[0]) <= 1
    assert {each.name for each in whole[1] if each.steps > 1} == {"LOGISTIC", "ADD"}

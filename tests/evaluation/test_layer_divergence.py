"""Where a LiteRT file and its simulation part, in one run of the simulation or in several."""

from __future__ import annotations

import pytest

from calibrant.emit.tflite.simulation import parts
from calibrant.evaluation.layer_divergence import first_parting
from calibrant.evaluation.tflite_runner import TfliteRunner
from graphs import conv, graph_def, tf
from tflite_networks import contents, exported, image


@pytest.fixture(scope="module")
def pair():
    def build():
        y = tf.nn.relu(conv(image(), name="one"))
        y += conv(y, name="two", seed=4)
        tf.identity(conv(y, name="three", seed=5), name="out")

    result, x = exported(graph_def(build))
    content, simulation = contents(result)
    return TfliteRunner(content), simulation, x[:2]


@pytest.mark.parametrize("most", [1, 1_000, 1 << 26])
def test_it_is_the_same_however_many_are_simulated_at_once(pair, monkeypatch, most):
    monkeypatch.setattr(parts, "MOST_NUMBERS", most)
    monkeypatch.setattr(parts, "MOST_PARTS", 1_000_000)
    file, simulation, x = pair
    file.run({0: x})
    assert first_parting(simulation, file, {0: x}) is None
    file.run({0: -x})
    found = first_parting(simulation, file, {0: x})
    assert found.layer.startswith("Relu") and found.largest_steps > 1

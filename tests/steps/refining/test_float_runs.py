"""The float network runs once for its outputs and their gradients, and gives the numbers of runs of its own."""

from contextlib import closing

import numpy as np
import pytest

import calibrant
from calibrant.data.input_spec import inputs_of
from calibrant.data.open_data import open_data
from calibrant.graph.logits import compared_tensors
from calibrant.graph.reading.load import load
from calibrant.steps.refining import float_runs, whole_errors
from calibrant.steps.refining.float_runs import FloatRuns
from calibrant.steps.refining.output_errors import outputs_of, pieces_of
from calibrant.steps.refining.whole_errors import WholeErrors
from graphs import conv, graph_def, numbers, placeholder, tf

DATA = numbers(64, 6, 6, 2)


@pytest.fixture(scope="module")
def network():
    def build():
        hidden = tf.nn.relu(conv(placeholder([None, 6, 6, 2]), name="first"))
        out = tf.reshape(tf.nn.relu(conv(hidden, name="second")), [-1, 144])
        tf.nn.softmax(tf.linalg.matmul(out, numbers(144, 3, seed=5)), name="out")

    return calibrant.quantize(load(graph_def(build)), None, DATA, samples="all").network


def units_of(network):
    return [[entry] for entry in network.every_input()]


def pieces_for(network):
    return pieces_of(network.graph, open_data(DATA, inputs_of(network.graph)), 32, 64)


def test_the_outputs_are_those_of_the_plain_network(network):
    pieces = pieces_for(network)
    with closing(FloatRuns(network.graph, units_of(network), quickly=True)) as runs:
        found = runs.outputs(pieces)
    for one, other in zip(found, outputs_of(network.graph, compared_tensors(network.graph), pieces), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kept", [0, 32 * 4 * (72 + 2 * 144 + 3 * 144), 1 << 25])
def test_what_is_not_kept_runs_again(kept, network, monkeypatch):
    monkeypatch.setattr(float_runs, "KEPT", kept)
    pieces = pieces_for(network)
    with closing(FloatRuns(network.graph, units_of(network))) as runs:
        weights = [[np.ones_like(each) for each in outputs] for outputs in runs.outputs(pieces)]
        found = [runs.gradients(piece, [each]) for piece, each in zip(pieces, weights, strict=True)]
        runs.make_room()
        again = [runs.gradients(piece, [each]) for piece, each in zip(pieces, weights, strict=True)]
    for one, other in zip(found, again, strict=True):
        for ((values, (slopes,)),), ((others, (other_slopes,)),) in zip(one, other, strict=True):
            np.testing.assert_array_equal(values, others)
            np.testing.assert_array_equal(slopes, other_slopes)


def test_the_session_of_the_reference_tells_gradients(network, monkeypatch):
    opened = []

    class Opened(FloatRuns):
        def __init__(self, *rest, **options):
            opened.append(self)
            super().__init__(*rest, **options)

    monkeypatch.setattr(whole_errors, "FloatRuns", Opened)
    units = units_of(network)
    whole = WholeErrors(network, open_data(DATA, inputs_of(network.graph)), units)
    assert whole.mean(network) > 0
    with closing(whole.take_runs(network.graph, units)) as runs:
        assert opened == [runs]
    with closing(whole.take_runs(network.graph, units)) as runs:
        assert opened[1:] == [runs]
    whole.clear()
    assert whole.mean(network) > 0
    with closing(whole.take_runs(network.graph, units[:1])) as runs:
        assert opened[3:] == [runs]


@pytest.mark.parametrize("most", [0, 1 << 23])
def test_both_networks_at_once_or_one_after_the_other(most, network, monkeypatch):
    monkeypatch.setattr(whole_errors, "AT_ONCE", most)
    batches = open_data(DATA, inputs_of(network.graph))
    whole = WholeErrors(network, batches, units_of(network))
    found = whole.of(network)
    pieces = pieces_for(network)
    reference = outputs_of(network.graph, compared_tensors(network.graph), pieces)
    squares = whole_errors.whole_squares(network, reference, pieces)
    np.testing.assert_array_equal(found, np.sqrt(squares.sum(axis=1)))
    np.testing.assert_array_equal(whole.by_output(network), np.sqrt(squares).mean(axis=0))
    whole.clear()

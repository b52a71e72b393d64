"""Models of one network whose files list its inputs and outputs in different orders, as a SavedModel sorts them."""

from __future__ import annotations

import pytest

import calibrant
from calibrant.evaluation.verify import verify
from calibrant.graph.reading.load import load
from calibrant.graph.same_order import in_order_of
from graphs import dense, graph_def, numbers, placeholder, tf

ARRAYS = {"zeta": numbers(16, 4), "alpha": 3 * numbers(16, 4, seed=1)}
DATA = {"by name": ARRAYS, "by position": tuple(ARRAYS.values())}


@pytest.fixture(scope="module")
def network():
    def build():
        first, second = placeholder([None, 4], "zeta"), placeholder([None, 4], "alpha")
        tf.identity(dense(first - 3 * second, seed=2), name="zz")
        tf.identity(dense(tf.nn.relu(second)), name="aa")

    return graph_def(build)


@pytest.fixture(scope="module")
def in_two_orders(network):
    first = load(network, inputs=["zeta", "alpha"], outputs=["zz", "aa"])
    return first, load(network, inputs=["alpha", "zeta"], outputs=["aa", "zz"])


@pytest.mark.parametrize("given", DATA)
def test_evaluate_pairs_them_by_name(in_two_orders, given):
    scores = calibrant.evaluate(in_two_orders, DATA[given])
    assert [(score.output, score.largest_difference) for score in scores[1::2]] == [("zz", 0.0), ("aa", 0.0)]


def test_names_that_are_not_the_same_leave_the_order(network):
    def build():
        first, second = placeholder([None, 4], "one"), placeholder([None, 4], "two")
        tf.identity(dense(first - 3 * second, seed=2), name="three")
        tf.identity(dense(tf.nn.relu(second)), name="four")

    models = load(network, ["zeta", "alpha"], ["zz", "aa"]), load(graph_def(build), ["one", "two"], ["three", "four"])
    assert in_order_of(models[1], like=models[0]) is models[1]
    assert [score.mse for score in calibrant.evaluate(models, DATA["by name"])[1::2]] == [0.0, 0.0]


@pytest.mark.parametrize("given", DATA)
def test_verify_takes_a_float_model_of_another_order(in_two_orders, given, tmp_path):
    first, second = in_two_orders
    calibrant.quantize(first, data=ARRAYS, out=tmp_path / "out")
    same, other = (verify(tmp_path / "out", DATA[given], model=model) for model in (first, second))
    assert other.pairs == same.pairs and same.pairs[0].sqnr_db > 20

"""The search with a judge from outside."""

import math

import numpy as np
import pytest

from calibrant.config.plan import ActivationPlan, LayerPlan
from calibrant.errors import ConfigError
from calibrant.evaluation.evaluator_search import search_in_float
from calibrant.evaluation.tune_search import STRATEGIES

NAMES = [f"layer{number}" for number in range(20)]
LAYERS = [LayerPlan(name, "Conv2D", None, ActivationPlan("ifmr")) for name in NAMES]
RANKING = {name: number / 20 for number, name in enumerate(NAMES)}


def judge_needing(count, calls):
    """Good enough as soon as the first ``count`` of the ranking are in float."""

    def judge(in_float):
        calls.append(in_float)
        missing = count - len(set(NAMES[:count]) & set(in_float))
        return missing == 0, float(missing)

    return judge


@pytest.mark.parametrize("count", range(20))
def test_bisection_finds_the_fewest_layers_in_few_trials(count):
    calls = []
    found = search_in_float(LAYERS, RANKING, judge_needing(count, calls), STRATEGIES["BinarySearch"])
    assert found.met
    assert found.in_float == tuple(NAMES[:count])
    assert len(calls) <= 1 + math.ceil(math.log2(20)) + 1
    assert len(calls) == len(found.steps)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_network_without_any_quantized_layer_is_no_result(name):
    found = search_in_float(LAYERS, RANKING, lambda in_float: (False, 1.0), STRATEGIES[name])
    assert not found.met
    assert all(any(step.quantized.values()) for step in found.steps)


class OneByOne:
    """A strategy object of the kind that users write."""

    def initialize(self, ranking):
        self.config = dict.fromkeys(ranking, True)
        self.order = list(ranking)

    def update_quant_config(self, verdict):
        if not verdict[0]:
            self.config[self.order.pop(0)] = False
        return {"roll_back_config": dict(self.config), "stop_flag": verdict[0]}


def test_a_strategy_object():
    found = search_in_float(LAYERS, RANKING, judge_needing(3, []), OneByOne())
    assert (found.in_float, found.met, len(found.steps)) == (tuple(NAMES[:3]), True, 4)
    assert [step.verdict for step in found.steps] == [(False, 3.0), (False, 2.0), (False, 1.0), (True, 0.0)]


class Answering:
    """A strategy object that gives its answers in turn, the last one forever."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def initialize(self, ranking):
        pass

    def update_quant_config(self, verdict):
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def answer(config, stop):
    return {"roll_back_config": config, "stop_flag": stop}


@pytest.mark.parametrize(
    "wrong",
    [None, 5, (True, {}), {}, answer(None, True), answer({}, None), answer([NAMES[0]], True), answer({NAMES[0]: 2}, 1)],
)
def test_a_wrong_answer_is_one_error(wrong):
    with pytest.raises(ConfigError, match="update_quant_config of Answering returned (?s:.*)allowed: {'roll_back_conf"):
        search_in_float(LAYERS, RANKING, judge_needing(3, []), Answering(wrong))


def test_an_unknown_layer_is_named():
    with pytest.raises(ConfigError, match="the unknown layer 'laier3'(?s:.*)did you mean 'layer3'"):
        search_in_float(LAYERS, RANKING, judge_needing(3, []), Answering(answer({"laier3": False}, True)))


def test_a_strategy_may_come_back_to_layers_but_not_for_ever():
    same, calls = answer({NAMES[0]: np.False_}, np.False_), []
    found = search_in_float(LAYERS, RANKING, judge_needing(1, calls), Answering(*[same] * 5, answer({}, True)))
    assert (found.in_float, found.met, len(calls)) == ((), False, 7)
    with pytest.raises(ConfigError, match="strategy Answering goes on after 10 answers in a row"):
        search_in_float(LAYERS, RANKING, judge_needing(3, []), Answering(same))

"""The search alone, against costs that are made up: it proposes, a function answers."""

import itertools
import math
import random

import pytest

from calibrant.config import ActivationPlan, LayerPlan, WeightPlan
from calibrant.evaluation.candidate import MUTATIONS, Candidate, Mutation
from calibrant.evaluation.tune_search import Outcome, SearchSettings, search


def layers(count):
    return tuple(LayerPlan(f"layer{i}", "Conv2D", WeightPlan(), ActivationPlan()) for i in range(count))


def outcome_of(noise, ranking):
    return Outcome(loss=noise / 100, sqnr_db=60 - 10 * math.log10(noise + 1e-9), ranking=ranking)


def drive(start, settings, cost):
    """Run a search; ``cost`` gives the noise of each layer of a choice that is quantized."""
    tried = []

    def run(proposal):
        choice = proposal.choice
        noises = {entry.name: cost(entry) for entry in choice.settings if entry.name not in choice.in_float}
        tried.append(proposal)
        ranking = tuple(sorted(noises, key=lambda name: -noises[name])) if proposal.rank else ()
        return outcome_of(sum(noises.values()), ranking)

    searching = search(start, settings)
    proposals = next(searching)
    while True:
        try:
            proposals = searching.send([run(proposal) for proposal in proposals])
        except StopIteration as done:
            return (*done.value, tried)


def test_what_is_good_enough_is_left_alone():
    choice, _, tried = drive(Candidate(layers(5)), SearchSettings(0.1), lambda entry: 1.0)
    assert choice == Candidate(layers(5)) and len(tried) == 1


@pytest.mark.parametrize("seed", range(20))
def test_as_few_layers_in_float_as_trying_all_sets(seed):
    random_costs = random.Random(seed)
    costs = {entry.name: random_costs.choice([0.1, 0.5, 1, 3, 8]) for entry in layers(7)}
    tolerance = random_costs.choice([0.02, 0.05, 0.1])
    choice, outcome, _ = drive(
        Candidate(layers(7)), SearchSettings(tolerance, repairs=()), lambda entry: costs[entry.name]
    )
    fewest = next(
        count
        for count in range(8)
        for left in itertools.combinations(costs, count)
        if sum(cost for name, cost in costs.items() if name not in left) / 100 <= tolerance + 1e-12
    )
    assert outcome.loss <= tolerance + 1e-12
    assert len(choice.in_float) == fewest


def test_a_repair_that_is_enough_leaves_no_layer_in_float():
    def cost(entry):
        return 0.1 if entry.weights.channel_wise else 5.0

    choice, outcome, _ = drive(Candidate(layers(4)), SearchSettings(0.01), cost)
    assert outcome.loss <= 0.01 and choice.in_float == ()
    assert all(entry.weights.channel_wise for entry in choice.settings)


def test_the_worst_layer_is_repaired_alone_where_the_repair_harms_the_others():
    def cost(entry):
        helps = entry.name == "layer2"
        return (0.1 if helps else 9.0) if entry.weights.channel_wise else (6.0 if helps else 0.2)

    choice, outcome, _ = drive(Candidate(layers(4)), SearchSettings(0.01), cost)
    assert outcome.loss <= 0.01
    assert [entry.name for entry in choice.settings if entry.weights.channel_wise] == ["layer2"]


def test_a_tolerance_that_cannot_be_met_ends_with_the_nearest():
    choice, outcome, _ = drive(Candidate(layers(3)), SearchSettings(0.0, repairs=()), lambda entry: 1.0)
    assert outcome.loss == pytest.approx(0.01) and len(choice.in_float) == 2


def test_layers_stay_quantized_where_float_is_not_allowed():
    choice, _, _ = drive(Candidate(layers(3)), SearchSettings(0.0, layers_in_float=False), lambda entry: 1.0)
    assert choice.in_float == ()


def test_thorough_goes_on_after_the_tolerance_is_met():
    def cost(entry):
        return 0.5 if entry.activation.algorithm == "hfmg" else 1.0

    choice, _, _ = drive(Candidate(layers(3)), SearchSettings(1.0, thorough=True), cost)
    assert all(entry.activation.algorithm == "hfmg" for entry in choice.settings)


def test_a_candidate_that_fails_is_never_chosen():
    broken = Mutation("broken", MUTATIONS[0].change)
    searching = search(Candidate(layers(2)), SearchSettings(0.01, repairs=(broken,), layers_in_float=False))
    next(searching)
    searching.send([outcome_of(5.0, ("layer0", "layer1"))])
    with pytest.raises(StopIteration) as done:
        while True:
            searching.send([Outcome(math.inf, -math.inf, error="no")])
    assert done.value.value[0] == Candidate(layers(2))


def test_a_network_of_300_layers_takes_few_trials():
    costs = {entry.name: 1 / (1 + index) for index, entry in enumerate(layers(300))}
    settings = SearchSettings(0.03)
    _, outcome, tried = drive(Candidate(layers(300)), settings, lambda entry: costs[entry.name])
    assert outcome.loss <= 0.03 and len(tried) < 100

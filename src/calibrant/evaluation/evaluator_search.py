"""The search of ``tune`` with a judge from outside: a function that says whether a quantized network is good enough."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from calibrant.config.plan import LayerPlan
from calibrant.evaluation.candidate import Candidate
from calibrant.evaluation.tune import drive
from calibrant.evaluation.tune_search import Outcome, Proposal, Search, SearchSettings, Strategy, Trial, search

Verdict = tuple[bool, float]
"""Whether a network is good enough, and what it has lost."""


@dataclass(frozen=True)
class Step:
    """One network that was judged: layer → whether it was quantized, and the verdict."""

    quantized: Mapping[str, bool]
    verdict: Verdict


@dataclass(frozen=True)
class Found:
    """What a search came to: the layers in float, whether that is good enough, and all that was judged on the way."""

    in_float: tuple[str, ...]
    met: bool
    steps: tuple[Step, ...]


def search_in_float(
    layers: Sequence[LayerPlan],
    ranking: Mapping[str, float],
    judge: Callable[[tuple[str, ...]], Verdict],
    strategy: Strategy | Any,
) -> Found:
    """Leave as many layers in float as it takes.

    Parameters
    ----------
    layers : Sequence[LayerPlan]
        Those that are quantized.
    ranking : Mapping[str, float]
        Layer → similarity of its quantized output, the least alike first.
    judge : Callable[[tuple[str, ...]], Verdict]
        Called with the names of the layers that are left in float.
    strategy : Strategy | Any
        A strategy of :mod:`calibrant.evaluation.tune_search`; or an object with ``initialize(ranking)`` and
        ``update_quant_config(verdict)``, which returns ``{"roll_back_config": {layer: whether quantized}, "stop_flag":
        whether this is the last}``.
    """
    steps: list[Step] = []
    names = [layer.name for layer in layers]

    def run(proposals: list[Proposal]) -> list[Outcome]:
        return [outcome(proposal.choice.in_float) for proposal in proposals]

    def outcome(in_float: tuple[str, ...]) -> Outcome:
        good, lost = judge(in_float)
        steps.append(Step({name: name not in in_float for name in names}, (good, lost)))
        loss = 0.0 if good else lost if lost > 0 else math.inf
        return Outcome(loss, math.inf, tuple(ranking))  # the judge alone decides, not the signal-to-noise ratio

    if hasattr(strategy, "update_quant_config"):
        strategy = _asking(strategy, ranking, lambda: steps[-1].verdict)
    settings = SearchSettings(tolerance=0.0, repairs=(), strategy=strategy)
    choice, result = drive(search(Candidate(tuple(layers)), settings), run)
    return Found(choice.in_float, result.loss == 0, tuple(steps))


def _asking(asked: Any, ranking: Mapping[str, float], last: Callable[[], Verdict]) -> Strategy:
    """An object that is asked for the next set of quantized layers, as a strategy."""

    def strategy(best: Trial, settings: SearchSettings) -> Search:
        start = best[0]
        asked.initialize(dict(ranking))
        while True:
            answer = asked.update_quant_config(last())
            in_float = {name for name, quantized in answer["roll_back_config"].items() if not quantized}
            choice = start.with_float(in_float)
            if not (answer["stop_flag"] and choice == best[0]):
                (outcome,) = yield [Proposal(choice, f"{len(in_float)} layers in float")]
                best = (choice, outcome)
            if answer["stop_flag"]:
                return best

    return strategy

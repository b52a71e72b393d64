"""The search of ``tune`` with a judge from outside: a function that says whether a quantized network is good enough."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from calibrant.config.plan import LayerPlan
from calibrant.data.option_types import ACCEPTED
from calibrant.errors import ConfigError, Problem, did_you_mean
from calibrant.evaluation.candidate import Candidate
from calibrant.evaluation.returned import shown
from calibrant.evaluation.tune import drive
from calibrant.evaluation.tune_search import Outcome, Proposal, Search, SearchSettings, Strategy, Trial, search

MOST_REPEATS = 10
NAMED = 5
KEYS = ("roll_back_config", "stop_flag")
ANSWER = "{'roll_back_config': {layer: True where it is quantized}, 'stop_flag': True with the last}"
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
        whether this is the last}``. Layers that it does not name are quantized.

    Raises
    ------
    ConfigError
        The object answers something else, or goes on after MOST_REPEATS answers in a row that were judged before.
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
        names = [entry.name for entry in start.settings]
        judged, repeats = {start.in_float}, 0
        asked.initialize(dict(ranking))
        while True:
            in_float, is_last = _checked(asked.update_quant_config(last()), asked, names)
            choice = start.with_float(in_float)
            repeats = repeats + 1 if choice.in_float in judged else 0
            if repeats > MOST_REPEATS and not is_last:
                raise ConfigError(_goes_round(asked, choice.in_float))
            judged.add(choice.in_float)
            if not (is_last and choice == best[0]):
                (outcome,) = yield [Proposal(choice, f"{len(in_float)} layers in float")]
                best = (choice, outcome)
            if is_last:
                return best

    return strategy


def _checked(answer: Any, asked: Any, names: Sequence[str]) -> tuple[set[str], bool]:
    """What an answer leaves in float, and whether it is the last."""
    called = f"update_quant_config of {type(asked).__name__} returned"
    config, stop = (answer.get(key) for key in KEYS) if isinstance(answer, Mapping) else (None, None)
    is_switch = ACCEPTED["bool"][0]
    if not isinstance(config, Mapping) or not is_switch(stop) or not all(map(is_switch, config.values())):
        raise ConfigError(Problem(f"{called} {shown(answer)}", allowed=ANSWER))
    unknown = [name for name in config if name not in names]
    if unknown:
        hint = did_you_mean(str(unknown[0]), names)
        allowed = f"layers of the ranking: {', '.join(names[:NAMED])}{' …' if len(names) > NAMED else ''}"
        raise ConfigError(Problem(f"{called} the unknown layer {unknown[0]!r}", allowed=allowed, hint=hint))
    return {name for name, quantized in config.items() if not quantized}, bool(stop)


def _goes_round(asked: Any, in_float: tuple[str, ...]) -> Problem:
    return Problem(
        f"strategy {type(asked).__name__} goes on after {MOST_REPEATS} answers in a row that were judged before, the "
        f"last with {len(in_float)} layers in float",
        allowed="layers that have not been tried, or a stop_flag that is True",
    )

"""The search of ``tune``: proposes candidates and gets their outcomes. It runs nothing itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from calibrant.evaluation.candidate import MUTATIONS, Candidate, Mutation

GAIN_DB = 0.1
AHEAD = 3
LEAST_DB = 3.0
MANY_LAYERS = 48  # beyond which layers are left in float by bisection: the greedy way tries three for each


@dataclass(frozen=True)
class Outcome:
    """How a candidate did.

    Parameters
    ----------
    loss : float
        Share of the samples, 0…1: right answers lost against the float network, or predictions that changed. Infinite
        where the candidate could not be quantized.
    sqnr_db : float
        Signal-to-noise ratio of the network's outputs against the float network's, for the median sample: so a sample
        with huge outputs counts no more than others.
    ranking : tuple[str, ...]
        Layers by what each costs, the most harmful first; () where it was not asked for.
    error : str | None
        Why it could not be quantized.
    """

    loss: float
    sqnr_db: float
    ranking: tuple[str, ...] = ()
    error: str | None = None

    @property
    def summary(self) -> str:
        """``lost 0.50 points, 31.2 dB for the median sample``; the loss alone where most samples have equal outputs."""
        ratio = f", {self.sqnr_db:.1f} dB for the median sample" if math.isfinite(self.sqnr_db) else ""
        return f"lost {100 * self.loss:.2f} points{ratio}"


@dataclass(frozen=True)
class Proposal:
    """A candidate, what it is called in the table, and whether its layers are to be ranked."""

    choice: Candidate
    what: str
    rank: bool = False


@dataclass(frozen=True)
class SearchSettings:
    """What the search is after.

    Parameters
    ----------
    tolerance : float
        The loss that is allowed, a share.
    repairs : Sequence[Mutation]
        What may be changed in a layer's settings.
    worst : int
        How many of the most harmful layers are repaired one by one.
    layers_in_float : bool
        Whether layers may be left in float.
    thorough : bool
        Go on repairing when the tolerance is met already, as long as the outputs get better.
    strategy : Strategy | None
        How layers are chosen to be left in float; one of STRATEGIES, or another such generator function.
        By default greedily, and by bisection with more than MANY_LAYERS layers.
    """

    tolerance: float
    repairs: Sequence[Mutation] = MUTATIONS
    worst: int = 4
    layers_in_float: bool = True
    thorough: bool = False
    strategy: Strategy | None = None


Trial = tuple[Candidate, Outcome]
Search = Generator[list[Proposal], list[Outcome], Trial]
Strategy = Callable[[Trial, SearchSettings], Search]


def search(start: Candidate, settings: SearchSettings) -> Search:
    """Yields lists of proposals that may run side by side, takes their outcomes, returns the best.

    First one repair for all layers at a time, then repairs of the worst layers one by one, then layers in float, the
    most harmful first, and back again those that turn out not to be needed.
    """
    (outcome,) = yield [Proposal(start, "as given")]
    best = (start, outcome)
    if _goes_on(best, settings):
        best = yield from _repair_all(best, settings)
    if _goes_on(best, settings):
        best = yield from _repair_worst(best, settings)
    if settings.layers_in_float and not _met(best[1], settings):
        by_size = leave_in_float_by_bisection if len(start.settings) > MANY_LAYERS else leave_in_float_greedily
        best = yield from (settings.strategy or by_size)(best, settings)
    return best


def is_met(outcome: Outcome, tolerance: float) -> bool:
    """Whether a candidate keeps the accuracy; outputs that are mostly noise do not, even with the same predictions."""
    return outcome.loss <= tolerance + 1e-12 and outcome.sqnr_db >= LEAST_DB


def _met(outcome: Outcome, settings: SearchSettings) -> bool:
    return is_met(outcome, settings.tolerance)


def _goes_on(best: Trial, settings: SearchSettings) -> bool:
    return settings.thorough or not _met(best[1], settings)


def _key(trial: Trial, settings: SearchSettings) -> tuple[bool, bool, float, float]:
    outcome = trial[1]
    return (outcome.error is not None, not _met(outcome, settings), -outcome.sqnr_db, outcome.loss)


def _better(trial: Trial, than: Trial, settings: SearchSettings) -> bool:
    if trial[1].error is not None:
        return False
    if settings.thorough or _met(trial[1], settings) == _met(than[1], settings):
        return trial[1].sqnr_db > than[1].sqnr_db + GAIN_DB
    return _met(trial[1], settings)


def _propose(proposals: list[Proposal]) -> Generator[list[Proposal], list[Outcome], list[Trial]]:
    if not proposals:
        return []
    outcomes = yield proposals
    return [(proposal.choice, outcome) for proposal, outcome in zip(proposals, outcomes, strict=True)]


def _repair_all(best: Trial, settings: SearchSettings) -> Search:
    while _goes_on(best, settings):
        candidates = [
            Proposal(choice, f"{repair.name}, all layers")
            for repair in settings.repairs
            if (choice := best[0].repaired(repair)) != best[0]
        ]
        trials = yield from _propose(candidates)
        if not trials:
            break
        found = min(trials, key=lambda trial: _key(trial, settings))
        if not _better(found, best, settings):
            break
        best = found
    return best


def _ranked(best: Trial) -> Generator[list[Proposal], list[Outcome], tuple[str, ...]]:
    if best[1].ranking:
        return best[1].ranking
    (outcome,) = yield [Proposal(best[0], "best so far, layers ranked", rank=True)]
    return outcome.ranking


def _repair_worst(best: Trial, settings: SearchSettings) -> Search:
    ranking = yield from _ranked(best)
    for name in ranking[: settings.worst]:
        candidates = [
            Proposal(choice, f"{repair.name}, {name}")
            for repair in settings.repairs
            if (choice := best[0].repaired(repair, {name})) != best[0]
        ]
        trials = yield from _propose(candidates)
        found = min(trials, key=lambda trial: _key(trial, settings), default=best)
        if _better(found, best, settings):
            best = found
        if not _goes_on(best, settings):
            break
    return best


def leave_in_float_greedily(best: Trial, settings: SearchSettings) -> Search:
    """One layer after the other, the one that helps most of the next in the ranking; then back those not needed."""
    ranking = list((yield from _ranked(best)))
    kept: set[str] = set()
    start = best
    while not _met(best[1], settings) and len(kept) + 1 < len(start[0].settings) and ranking:
        trials = yield from _propose(
            [Proposal(start[0].with_float(kept | {name}), f"{name} in float") for name in ranking[:AHEAD]]
        )
        best = min(trials, key=lambda trial: _key(trial, settings))
        kept = set(best[0].in_float)
        ranking = [name for name in ranking if name not in kept]
    while _met(best[1], settings) and len(kept) > 1:
        trials = yield from _propose(
            [Proposal(start[0].with_float(kept - {name}), f"{name} quantized again") for name in best[0].in_float]
        )
        found = min(trials, key=lambda trial: _key(trial, settings))
        if not _met(found[1], settings):
            break
        best, kept = found, set(found[0].in_float)
    return best


def leave_in_float_by_bisection(best: Trial, settings: SearchSettings) -> Search:
    """The shortest beginning of the ranking that meets the tolerance, found in log2 of the layers' number of trials.

    That holds where more layers in float never cost accuracy; the trial that is returned meets the tolerance anyhow,
    if any did.
    """
    ranking = yield from _ranked(best)
    start, missed, met = best[0], 0, len(ranking)  # layers in float that are too few, and that are enough
    while met - missed > 1:
        count = (missed + met) // 2
        found = yield from _propose([Proposal(start.with_float(set(ranking[:count])), f"{count} layers in float")])
        if _met(found[0][1], settings):
            met, best = count, found[0]
        else:
            missed = count
            best = best if _met(best[1], settings) else found[0]
    return best


STRATEGIES: dict[str, Strategy] = {
    "BinarySearch": leave_in_float_by_bisection,
    "Greedy": leave_in_float_greedily,
}

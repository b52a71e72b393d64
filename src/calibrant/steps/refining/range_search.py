"""The search for clipping ranges by their error at the outputs: it proposes ranges, and a function measures them.

A range is scanned from wide to narrow over a geometric grid, first with both ends together, then each end by itself. A
scan continues while a narrower range may still be better. The samples are few, so of ranges that are not clearly worse
the widest is taken; and a range moves only if other samples agree.

Candidates are compared by the mean *size* of a sample's error, not of its square: if margins between the classes are
spread evenly near zero, the share of predictions that an error changes is proportional to its size, and one sample with
a large error is still only one prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.progress import ProgressFn, no_progress

STEP = 1.15
WIDEST, NARROWEST = 4, -16  # powers of STEP: 1.75 … 0.11
COARSE = 2  # powers from one candidate to the next, before those beside the best are tried
CLEARLY_WORSE = 1.5
CLEARLY = 0.5  # standard errors, from which a narrower range is preferred
MATTERS = 0.01
"""Share of the squared errors of all ranges from which one is searched."""
FIRST = 4
LITTLE = 0.02
"""Unless the FIRST ranges, which cost most, gain this share of their errors together, the others are left alone."""
SCANS = (("low", "high"), ("high",), ("low",))

Measure = Callable[[Mapping[int, Sequence[Quantizer]]], Mapping[int, np.ndarray]]
"""Index of a range → candidates to index → sizes of errors [candidates, samples]."""


@dataclass(frozen=True)
class ClippingRange:
    """A clipping range and how it is quantized.

    Parameters
    ----------
    low, high : float
        Ends of the range in real units, low <= 0 <= high.
    bits : int
        Width of the codes.
    asymmetric : bool
        Whether the quantizer has an offset.
    """

    low: float
    high: float
    bits: int = 8
    asymmetric: bool = True

    @property
    def quantizer(self) -> Quantizer:
        """Its scale and offset."""
        return Quantizer.from_range(self.low, self.high, self.bits, self.asymmetric)

    def scaled(self, ends: Sequence[str], power: int) -> ClippingRange:
        """The range with the named ends (``'low'``, ``'high'``) multiplied by STEP^power."""
        return replace(self, **{end: getattr(self, end) * STEP**power for end in ends}) if power else self

    def can_move(self, ends: Sequence[str]) -> bool:
        """Whether moving exactly these ends is a scan of its own: a symmetric range moves as a whole."""
        movable = [end for end in ("low", "high") if getattr(self, end)]
        if not self.asymmetric or len(movable) < 2:
            return bool(movable) and len(ends) == 2
        return True


def search_ranges(
    ranges: Sequence[ClippingRange], measure: Measure, track: ProgressFn = no_progress
) -> list[list[ClippingRange]]:
    """What the search of each range came by, the present one first; those that cost most are searched first.

    One that causes less than MATTERS of all errors stays.

    Parameters
    ----------
    ranges : Sequence[ClippingRange]
        The present ranges.
    measure : Measure
        Tells the errors of candidates.
    track : ProgressFn
        Shows progress.
    """
    found = [[entry] for entry in ranges]
    present = measure({place: [entry.quantizer] for place, entry in enumerate(ranges)})
    squares = {place: float(np.square(errors).sum()) for place, errors in present.items()}
    least = MATTERS * sum(squares.values())
    costly = sorted((place for place in squares if squares[place] > least), key=lambda place: -squares[place])
    before = after = 0.0
    for number, place in enumerate(track(costly, "refining", len(costly)), start=1):
        start = present[place][0]
        found[place], errors = _searched(ranges[place], start, partial(_measured_at, measure, place))
        before, after = before + float(start.sum()), after + float(errors.sum())
        if number == FIRST and before - after < LITTLE * before:
            break
    return found


def _measured_at(measure: Measure, place: int, tried: Sequence[Quantizer]) -> np.ndarray:
    return measure({place: tried})[place]


MeasureOne = Callable[[Sequence[Quantizer]], np.ndarray]


def _searched(start: ClippingRange, errors: np.ndarray, measure: MeasureOne) -> tuple[list[ClippingRange], np.ndarray]:
    """The range and the better one that each scan came to; the errors of the last [samples]."""
    found = [start]
    for ends in SCANS:
        if found[-1].can_move(ends):
            power, errors = _scanned(found[-1], ends, errors, measure)
            found += [found[-1].scaled(ends, power)] if power else []
    return found, errors


def _scanned(
    start: ClippingRange, ends: Sequence[str], present: np.ndarray, measure: MeasureOne
) -> tuple[int, np.ndarray]:
    """The power of the best range, and its errors, from wide to narrow."""
    errors = {0: present}

    def add(powers: list[int]) -> None:
        if wanted := [power for power in powers if power not in errors]:
            answers = measure([start.scaled(ends, power).quantizer for power in wanted])
            errors.update(zip(wanted, answers, strict=True))

    def least() -> int:
        return min(errors, key=lambda power: (errors[power].sum(), -power))

    add([COARSE, -COARSE])
    while max(errors) < WIDEST and least() == max(errors):
        add([max(errors) + COARSE])
    while min(errors) > NARROWEST and errors[min(errors)].sum() <= CLEARLY_WORSE * errors[least()].sum():
        add([min(errors) - COARSE])
    add([least() + 1, least() - 1])
    powers = sorted(errors, reverse=True)
    chosen = powers[best_of(np.stack([errors[power] for power in powers]), powers.index(0))]
    return chosen, errors[chosen]


def without_outliers(
    ranges: Sequence[ClippingRange], narrower: Mapping[int, Sequence[ClippingRange]], measure: Measure
) -> tuple[ClippingRange, ...]:
    """The ranges, some replaced by a narrower one with a smaller median error of the samples.

    This is for ranges set by a few faulty values, which may be thousands of times too wide. The samples with these
    values count as much as any other.

    Parameters
    ----------
    ranges : Sequence[ClippingRange]
        The present ranges.
    narrower : Mapping[int, Sequence[ClippingRange]]
        Index of a range → the ranges that may replace it.
    measure : Measure
        Tells the errors of candidates.
    """
    candidates = {place: [ranges[place], *others] for place, others in narrower.items()}
    answers = measure({place: [entry.quantizer for entry in tried] for place, tried in candidates.items()})
    best = {place: tried[np.median(answers[place], axis=1).argmin()] for place, tried in candidates.items()}
    return tuple(best.get(place, entry) for place, entry in enumerate(ranges))


def confirmed(
    found: Sequence[Sequence[ClippingRange]], measure: Measure, robust: Sequence[int] = ()
) -> tuple[ClippingRange, ...]:
    """Of each range the one that is best on these samples, if it is clearly better than the first.

    Parameters
    ----------
    found : Sequence[Sequence[ClippingRange]]
        The present range, and what may replace it.
    measure : Measure
        Tells the errors of candidates on samples that did not choose them.
    robust : Sequence[int]
        Indices of ranges that are judged by the median sample.
    """
    tried = {place: [entry.quantizer for entry in ranges] for place, ranges in enumerate(found) if len(ranges) > 1}
    answers = measure(tried)
    best = [ranges[0] for ranges in found]
    for place, errors in answers.items():
        judged = np.median(errors, axis=1) if place in robust else errors.mean(axis=1)
        last = int(judged.argmin())
        if is_better(errors[last], errors[0], place in robust, CLEARLY):
            best[place] = found[place][last]
    return tuple(best)


def is_better(sizes: np.ndarray, others: np.ndarray, robust: bool = False, least: float = 1.0) -> bool:
    """Whether errors are smaller than others: in the mean, by standard errors of the paired differences.

    Parameters
    ----------
    sizes, others : np.ndarray
        Sizes of the errors of the same samples, [samples].
    robust : bool
        Judge by the median sample instead.
    least : float
        By how many standard errors at least.
    """
    if robust:
        return bool(np.median(sizes) < np.median(others))
    gain = others - sizes
    deviation = gain.std(ddof=1) if gain.size > 1 else 0.0
    return bool(gain.mean() > least * deviation / np.sqrt(gain.size))


def best_of(errors: np.ndarray, present: int) -> int:
    """The first candidate whose error is the least or not clearly more, if it is less than the present one's.

    Else it is the present one. Candidates go from wide to narrow: what a narrower range gains on a few samples may be
    less than what it loses on others, with values beyond it.

    Parameters
    ----------
    errors : np.ndarray
        Sizes of errors [candidates, samples], not negative.
    present : int
        The number of the present candidate.
    """
    sums = errors.sum(axis=1)
    best = int(np.argmin(sums))
    best = next((place for place in range(best) if not is_better(errors[best], errors[place], False, CLEARLY)), best)
    return best if sums[best] < sums[present] else present

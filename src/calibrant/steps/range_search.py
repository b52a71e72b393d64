"""The search for clipping ranges by their error at the outputs: it proposes ranges, and a function measures them.

A range is scanned from wide to narrow over a geometric grid, first with both ends together, then each end by itself. A
scan continues while a narrower range may still be better. The samples are few, so errors are smoothed along the grid,
and a range is only changed if the new one is better for both halves of the samples.

Candidates are compared by the mean *size* of a sample's error, not of its square: if margins between the classes are
spread evenly near zero, the share of predictions that an error changes is proportional to its size, and one sample with
a large error is still only one prediction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer

STEP = 1.15
WIDEST, NARROWEST = 4, -16  # powers of STEP: 1.75 … 0.11
AT_ONCE = 3
CLEARLY_WORSE = 1.5
MATTERS = 0.01  # share of the errors of all ranges together
ENOUGH_SAMPLES = 16  # enough to see which ranges matter
SCANS = (("low", "high"), ("high",), ("low",))

Measure = Callable[[Mapping[int, Sequence[Quantizer]], "int | None"], Mapping[int, np.ndarray]]
"""Index of a range → candidates, and how many samples are enough, to index → sizes of errors [candidates, samples]."""


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


@dataclass
class Scan:
    """One range with some of its ends moved in steps, from wide to narrow."""

    start: ClippingRange
    ends: Sequence[str]
    errors: dict[int, np.ndarray] = field(default_factory=dict)

    def next_powers(self) -> list[int]:
        """The steps to be measured next; none if the scan is over."""
        if not self.errors:
            return list(range(WIDEST, -AT_ONCE, -1))
        last = min(self.errors)
        least = min(errors.sum() for errors in self.errors.values())
        if last <= NARROWEST or self.errors[last].sum() > CLEARLY_WORSE * least:
            return []
        return list(range(last - 1, max(last - AT_ONCE, NARROWEST) - 1, -1))

    def best(self) -> ClippingRange:
        """The chosen range."""
        powers = sorted(self.errors, reverse=True)
        errors = np.stack([self.errors[power] for power in powers])
        return self.start.scaled(self.ends, powers[best_of(errors, powers.index(0))])


def search_ranges(ranges: Sequence[ClippingRange], measure: Measure) -> tuple[ClippingRange, ...]:
    """The ranges of least error, each searched by itself; one that causes less than MATTERS of all errors stays."""
    best = list(ranges)
    present = measure({place: [entry.quantizer] for place, entry in enumerate(best)}, ENOUGH_SAMPLES)
    sizes = {place: float(errors.sum()) for place, errors in present.items()}
    least = MATTERS * math.fsum(sizes.values())
    for ends in SCANS:
        scans = {
            place: Scan(best[place], ends)
            for place, size in sizes.items()
            if size > least and best[place].can_move(ends)
        }
        while pending := {place: powers for place, scan in scans.items() if (powers := scan.next_powers())}:
            answers = measure(
                {
                    place: [scans[place].start.scaled(ends, power).quantizer for power in powers]
                    for place, powers in pending.items()
                },
                None,
            )
            for place, powers in pending.items():
                scans[place].errors.update(zip(powers, answers[place], strict=True))
        for place, scan in scans.items():
            best[place] = scan.best()
    return tuple(best)


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
    """
    candidates = {place: [ranges[place], *others] for place, others in narrower.items()}
    answers = measure({place: [entry.quantizer for entry in tried] for place, tried in candidates.items()}, None)
    best = {place: tried[np.median(answers[place], axis=1).argmin()] for place, tried in candidates.items()}
    return tuple(best.get(place, entry) for place, entry in enumerate(ranges))


def best_of(errors: np.ndarray, present: int) -> int:
    """The candidate of least smoothed error, if it is better than the present one on both halves; else the present one.

    Parameters
    ----------
    errors : np.ndarray
        Sizes of errors [candidates, samples], not negative; neighbours are near to each other. The halves are the
        samples of even and of odd number.
    present : int
        The number of the present candidate.
    """
    padded = np.concatenate([errors[:1], errors, errors[-1:]])
    smooth = (padded[:-2] + 2 * padded[1:-1] + padded[2:]).sum(axis=1)
    best = int(np.argmin(smooth))
    better = [errors[best, half::2].sum() < errors[present, half::2].sum() for half in (0, 1) if half < errors.shape[1]]
    return best if all(better) else present

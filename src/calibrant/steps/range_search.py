"""The search for clipping ranges by what they cost somewhere else: proposes ranges and is told their errors.

A range is scanned from wide to narrow over a geometric grid, first with both ends together, then each end by itself. A
scan goes on as long as narrower may still be better. The samples are few, so errors are smoothed along the grid, and of
the ranges whose errors cannot be told apart the widest is taken: what the samples do not hold may be larger.
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
STANDARD_ERRORS = 1.0
MATTERS = 0.01  # share of the noise of all ranges together
SCANS = (("low", "high"), ("high",), ("low",))

Measure = Callable[[Mapping[int, Sequence[Quantizer]]], Mapping[int, np.ndarray]]
"""Place of a range → candidates, to place → squared errors, float64 [candidates, samples]."""


@dataclass(frozen=True)
class ClippingRange:
    """A clipping range, low <= 0 <= high, in real units, and how it is quantized."""

    low: float
    high: float
    bits: int = 8
    asymmetric: bool = True

    @property
    def quantizer(self) -> Quantizer:
        """Its factors."""
        return Quantizer.from_range(self.low, self.high, self.bits, self.asymmetric)

    def scaled(self, ends: Sequence[str], power: int) -> ClippingRange:
        """With the named ends (``'low'``, ``'high'``) at STEP^power times where they are."""
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
        """The steps whose errors are wanted next; none where the scan is over."""
        if not self.errors:
            return list(range(WIDEST, -AT_ONCE, -1))
        last = min(self.errors)
        least = min(found.sum() for found in self.errors.values())
        if last <= NARROWEST or self.errors[last].sum() > CLEARLY_WORSE * least:
            return []
        return list(range(last - 1, max(last - AT_ONCE, NARROWEST) - 1, -1))

    def best(self) -> ClippingRange:
        """The range that is chosen."""
        powers = sorted(self.errors, reverse=True)
        return self.start.scaled(self.ends, powers[best_of(np.stack([self.errors[power] for power in powers]))])


def search_ranges(ranges: Sequence[ClippingRange], measure: Measure) -> tuple[ClippingRange, ...]:
    """The ranges of least error, each found by itself; one that makes less than MATTERS of the noise stays."""
    found = list(ranges)
    noise = {
        place: errors.sum()
        for place, errors in measure({place: [entry.quantizer] for place, entry in enumerate(found)}).items()
    }
    total = math.fsum(noise.values())
    for ends in SCANS:
        scans = {
            place: Scan(found[place], ends)
            for place, share in noise.items()
            if share > MATTERS * total and found[place].can_move(ends)
        }
        while wanted := {place: powers for place, scan in scans.items() if (powers := scan.next_powers())}:
            answers = measure(
                {
                    place: [scans[place].start.scaled(ends, power).quantizer for power in powers]
                    for place, powers in wanted.items()
                }
            )
            for place, powers in wanted.items():
                scans[place].errors.update(zip(powers, answers[place], strict=True))
        for place, scan in scans.items():
            found[place] = scan.best()
    return tuple(found)


def best_of(errors: np.ndarray) -> int:
    """The widest candidate whose smoothed error is within STANDARD_ERRORS standard errors of the least.

    The standard error is that of the mean difference of the two candidates over the samples. Only candidates up to the
    first that is worse than that come into question.

    Parameters
    ----------
    errors : [candidates, samples], not negative; from the widest range to the narrowest, neighbours near to each other.
    """
    padded = np.concatenate([errors[:1], errors, errors[-1:]])
    smooth = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    best = int(np.argmin(smooth.sum(axis=1)))
    chosen = best
    for wider in range(best - 1, -1, -1):
        difference = smooth[wider] - smooth[best]
        if difference.mean() > STANDARD_ERRORS * difference.std() / math.sqrt(len(difference)):
            break
        chosen = wider
    return chosen

"""The search for clipping ranges by what they cost somewhere else: proposes ranges and is told their errors.

A range is scanned from wide to narrow over a geometric grid, first with both ends together, then each end by itself. A
scan goes on as long as narrower may still be better. The samples are few, so errors are smoothed along the grid, and a
range is only moved to where it is better for both halves of the samples.

What is compared is the mean *size* of a sample's error, not of its square: where margins between the classes lie evenly
near zero, the share of predictions that an error changes is proportional to its size, and one sample that is far off is
still only one prediction.
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
ENOUGH_SAMPLES = 16  # to see which ranges matter
SCANS = (("low", "high"), ("high",), ("low",))

Measure = Callable[[Mapping[int, Sequence[Quantizer]], "int | None"], Mapping[int, np.ndarray]]
"""Place of a range → candidates, and how many samples are enough, to place → sizes of errors [candidates, samples]."""


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
        errors = np.stack([self.errors[power] for power in powers])
        return self.start.scaled(self.ends, powers[best_of(errors, powers.index(0))])


def search_ranges(ranges: Sequence[ClippingRange], measure: Measure) -> tuple[ClippingRange, ...]:
    """The ranges of least error, each found by itself; one that makes less than MATTERS of all errors stays."""
    found = list(ranges)
    present = measure({place: [entry.quantizer] for place, entry in enumerate(found)}, ENOUGH_SAMPLES)
    sizes = {place: float(errors.sum()) for place, errors in present.items()}
    least = MATTERS * math.fsum(sizes.values())
    for ends in SCANS:
        scans = {
            place: Scan(found[place], ends)
            for place, size in sizes.items()
            if size > least and found[place].can_move(ends)
        }
        while wanted := {place: powers for place, scan in scans.items() if (powers := scan.next_powers())}:
            answers = measure(
                {
                    place: [scans[place].start.scaled(ends, power).quantizer for power in powers]
                    for place, powers in wanted.items()
                },
                None,
            )
            for place, powers in wanted.items():
                scans[place].errors.update(zip(powers, answers[place], strict=True))
        for place, scan in scans.items():
            found[place] = scan.best()
    return tuple(found)


def without_outliers(
    ranges: Sequence[ClippingRange], narrower: Mapping[int, Sequence[ClippingRange]], measure: Measure
) -> tuple[ClippingRange, ...]:
    """The ranges, some of them exchanged for a narrower one with which half of the samples have the smaller error.

    For ranges that a few faulty values have set, which may be thousands of times too wide. The samples that hold these
    values count as much as any other and no more.

    Parameters
    ----------
    narrower : place of a range → what it may be exchanged for.
    """
    candidates = {place: [ranges[place], *others] for place, others in narrower.items()}
    answers = measure({place: [entry.quantizer for entry in tried] for place, tried in candidates.items()}, None)
    best = {place: tried[np.median(answers[place], axis=1).argmin()] for place, tried in candidates.items()}
    return tuple(best.get(place, entry) for place, entry in enumerate(ranges))


def best_of(errors: np.ndarray, present: int) -> int:
    """The candidate of least smoothed error, if it is better than the present one on both halves; else that one.

    Parameters
    ----------
    errors : [candidates, samples], not negative; neighbours are near to each other. The halves are the samples of even
        and of odd number.
    present : the number of the present candidate.
    """
    padded = np.concatenate([errors[:1], errors, errors[-1:]])
    smooth = (padded[:-2] + 2 * padded[1:-1] + padded[2:]).sum(axis=1)
    best = int(np.argmin(smooth))
    better = [errors[best, half::2].sum() < errors[present, half::2].sum() for half in (0, 1) if half < errors.shape[1]]
    return best if all(better) else present

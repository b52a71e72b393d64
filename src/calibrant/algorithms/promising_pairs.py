"""IFMR's pairs of bounds without those that cannot win, so that millions of them need not be tried one by one.

For one offset the error depends on the scale alone: it is P - 2 scale h(scale), where P is the signal's power and h the
sum over the thresholds of what the values exceed them by (`calibrant.algorithms.kernels_numpy.excess`). h is convex, so
between two scales it is at most its chord. That bounds the error from below for every pair whose scale lies between
them, from h at the two alone, and the bound misses the error only by the square of the scales' distance. Intervals of
scales are divided, and boxes (interval, offset) dropped where the bound is above an error that some pair reaches, until
few pairs are left.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from calibrant.algorithms.histogram import Histogram
from calibrant.algorithms.kernels import kernels

FEW_PAIRS = 2**12
_FIRST_INTERVALS = 1024
_DIVIDED_BY = 4
_ROWS = 2048  # of h at once
_SPREAD = 33  # bounds of either side that are tried first
_PROBES = 256
_GUARD = 2.0**-20  # far more than float32 moves a scale by
_NARROW = 2.0**-20  # intervals need not be divided further
_ROUNDING = 2.0**-36  # of the signal's power; far more than rounding moves a bound by

Score = Callable[[np.ndarray, np.ndarray], np.ndarray]


def promising_pairs(
    histogram: Histogram, lows: np.ndarray, highs: np.ndarray, bits: int, score: Score
) -> tuple[np.ndarray, np.ndarray]:
    """Indices (low, high) of pairs among which are all that have the least error, or almost that.

    Parameters
    ----------
    histogram : Histogram
        The values.
    lows, highs : np.ndarray
        Magnitudes of the candidates for the lower and for the upper bound, float64, ascending. Every pair has the scale
        (low + high) / (2^bits - 1), rounded to float32.
    bits : int
        Width of the codes, 2 to 16.
    score : Score
        Gives the mean squared errors of the pairs with these indices (low, high).
    """
    boxes = _Boxes(histogram, lows, highs, bits)
    reached = score(*boxes.spread()).min()
    intervals, alive = boxes.whole()
    parts = _FIRST_INTERVALS
    while True:
        edges = np.linspace(intervals[:, 0], intervals[:, 1], parts + 1, axis=1)
        intervals = np.stack([edges[:, :-1], edges[:, 1:]], axis=2).reshape(-1, 2)
        alive = np.repeat(alive, parts, axis=0) & boxes.hold_pairs(intervals)
        least = np.where(alive, boxes.least_errors(edges), np.inf)
        reached = min(reached, score(*boxes.probes(intervals, least)).min())
        alive = least <= reached + _ROUNDING * histogram.power
        kept = alive.any(axis=1)
        intervals, alive = intervals[kept], alive[kept]
        parts = _DIVIDED_BY
        narrow = (intervals[:, 1] <= intervals[:, 0] * (1 + _NARROW)).all()
        pairs = boxes.pairs(intervals, alive, None if narrow else FEW_PAIRS)
        if pairs is not None:
            return pairs


class _Boxes:
    """Pairs of bounds by their scale and their offset.

    Intervals of scales are float64 [intervals, 2]; what is said of boxes is an array [intervals, offsets].
    """

    def __init__(self, histogram: Histogram, lows: np.ndarray, highs: np.ndarray, bits: int):
        self.histogram, self.lows, self.highs = histogram, lows, highs
        self.steps = 2**bits - 1
        below = np.array([lows[0] / (lows[0] + highs[-1]), lows[-1] / (lows[-1] + highs[0])]) * self.steps
        first, last = np.rint(below + [-_GUARD * self.steps, _GUARD * self.steps]).clip(0, self.steps).astype(int)
        self.below = np.arange(first, last + 1)  # levels below zero; the offset is that many above the lowest code
        least = (lows[0] + highs[0]) / self.steps * (1 - _GUARD)
        self.sides = [  # levels beyond zero by offset, and what lies there
            (self.steps - self.below, *histogram.sums_outwards(False, least / 2)),
            (self.below, *histogram.sums_outwards(True, least / 2)),
        ]

    def whole(self) -> tuple[np.ndarray, np.ndarray]:
        """One interval that holds all scales, and that every offset may occur there."""
        ends = np.array([[self.lows[0] + self.highs[0], self.lows[-1] + self.highs[-1]]]) / self.steps
        return ends * [1 - _GUARD, 1 + _GUARD], np.ones((1, self.below.size), bool)

    def spread(self) -> tuple[np.ndarray, np.ndarray]:
        """A few pairs from everywhere."""
        low, high = (np.unique(np.linspace(0, side.size - 1, _SPREAD).astype(int)) for side in (self.lows, self.highs))
        return np.repeat(low, high.size), np.tile(high, low.size)

    def hold_pairs(self, intervals: np.ndarray) -> np.ndarray:
        """Whether there may be pairs in a box."""
        start, end = intervals[:, :1], intervals[:, 1:]
        low_start, low_end = self._low_range(start, end, self.below)
        low_start, low_end = np.maximum(low_start, self.lows[0]), np.minimum(low_end, self.lows[-1])
        high_start, high_end = self._high_range(start, end, low_start, low_end)
        return (low_start <= low_end) & (high_start <= self.highs[-1]) & (high_end >= self.highs[0])

    def _low_range(self, start: np.ndarray, end: np.ndarray, below: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The lower bounds that round to so many levels at scales from start to end."""
        guard = _GUARD * self.steps * end
        return (below - 0.5) * start - guard, (below + 0.5) * end + guard

    def _high_range(
        self, start: np.ndarray, end: np.ndarray, low_start: np.ndarray, low_end: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The upper bounds that give scales from start to end together with such lower bounds."""
        guard = _GUARD * self.steps * end
        return self.steps * start - low_end - guard, self.steps * end - low_start + guard

    def least_errors(self, edges: np.ndarray) -> np.ndarray:
        """Lower bounds of the mean squared errors between neighbours of the edges, float64 [rows, edges of a row]."""
        at_once = max(_ROWS // edges.shape[1], 1)
        rows = [self._least_errors(edges[row : row + at_once]) for row in range(0, len(edges), at_once)]
        return np.concatenate(rows)

    def _least_errors(self, edges: np.ndarray) -> np.ndarray:
        excess = np.zeros((edges.size, 1))
        for levels, table, first_key in self.sides:
            sums = kernels().excess(edges.reshape(-1), int(levels.max()), table, first_key)
            excess = excess + sums[:, levels]
        excess = excess.reshape(*edges.shape, -1)
        first, last = excess[:, :-1], excess[:, 1:]
        start, end = edges[:, :-1, None], edges[:, 1:, None]
        slope = (last - first) / (end - start)
        with np.errstate(divide="ignore", invalid="ignore"):
            best = np.clip((start - first / slope) / 2, start, end)
        best = np.where(slope < 0, best, end)
        gain = 2 * best * (first + slope * (best - start))
        errors = self.histogram.power - gain / self.histogram.count
        return errors.reshape(-1, self.below.size)

    def probes(self, intervals: np.ndarray, least: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A pair in, or next to, each of the boxes with the lowest errors."""
        most = min(_PROBES, least.size)
        row, column = np.divmod(np.argpartition(least, most - 1, axis=None)[:most], self.below.size)
        start, end = self._low_range(intervals[row, 0], intervals[row, 1], self.below[column])
        low = np.searchsorted(self.lows, (start + end) / 2).clip(0, self.lows.size - 1)
        width = self.steps * intervals[row].mean(axis=1)
        high = np.searchsorted(self.highs, width - self.lows[low]).clip(0, self.highs.size - 1)
        return low, high

    def pairs(self, intervals: np.ndarray, alive: np.ndarray, most: int | None) -> tuple[np.ndarray, np.ndarray] | None:
        """Every pair in the boxes, a few perhaps twice; None where there are more than ``most``."""
        column, row = alive.T.nonzero()
        start, end = intervals[row].T
        new = np.ones(row.size + 1, bool)  # boxes that touch are taken together, so that few pairs come twice
        new[1:-1] = (start[1:] != end[:-1]) | (column[1:] != column[:-1])
        column, start, end = column[new[:-1]], start[new[:-1]], end[new[1:]]
        low, box = _runs(self.lows, *self._low_range(start, end, self.below[column]), most)
        if low is None:
            return None
        value = self.lows[low]
        high, place = _runs(self.highs, *self._high_range(start[box], end[box], value, value), most)
        return None if high is None else (low[place], high)


def _runs(
    values: np.ndarray, start: np.ndarray, end: np.ndarray, most: int | None
) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    """Indices of the ascending values in each [start, end], and in which; None where they are more than ``most``."""
    first, last = np.searchsorted(values, start, "left"), np.searchsorted(values, end, "right")
    lengths = np.maximum(last - first, 0)
    total = int(lengths.sum())
    if most is not None and total > most:
        return None, None
    run = np.repeat(np.arange(lengths.size), lengths)
    position = np.arange(total) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return first[run] + position, run

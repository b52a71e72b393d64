"""The statistic of activations: a mergeable histogram with exact tails.

Bins are cut from the bits of a float32: exponent and the first MANTISSA_BITS of the mantissa are the bin, the rest is
the position inside it. So the bins need no range known beforehand, they get finer towards zero, and an outlier costs
the other values nothing. A bin holds a count and the sum of the positions, both integers: any order and any grouping
of the values gives the same state, bit for bit, and every bin knows the mean of its values.

Bins are kept for OCTAVES octaves below the largest magnitude seen. Smaller values, and zeros, are only
counted, as the rest of the total; so moving the window up loses no count and depends on the largest magnitude alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from calibrant.algorithms.arithmetic import shortest_decimal
from calibrant.algorithms.bins import LARGEST_BITS, Bins, first_key_for
from calibrant.algorithms.kernels import kernels
from calibrant.algorithms.packed_bins import (
    BINS_PER_SIGN,
    MANTISSA_BITS,
    OCTAVES,
    POSITION_BITS,
    TAIL,
    Filled,
    ordered_bits,
)
from calibrant.algorithms.tails import Tail

_LAYOUT = (1, MANTISSA_BITS, OCTAVES, TAIL)


class NonFiniteError(ValueError):
    """Values that are NaN or infinite: ``nan_count``, ``infinite_count``."""

    def __init__(self, nan_count: int, infinite_count: int):
        super().__init__(f"{nan_count} NaN and {infinite_count} infinite values")
        self.nan_count, self.infinite_count = nan_count, infinite_count


@dataclass(frozen=True)
class OrderStatistic:
    """A value counted from one end; if not exact, the mean of the bin that holds it."""

    value: float
    exact: bool


class Histogram:
    """An accumulator of float32 values. Two are equal when they have seen the same values, up to the bins' resolution.

    Memory is bounded: 192 KiB a sign, and at most 128 KiB for the tails.
    One instance must not be updated by two threads at once; different instances may be.
    """

    __slots__ = ("_bins", "_bottom", "_highest", "_lowest", "_filled", "_top", "count")
    __hash__ = None  # type: ignore[assignment]  # mutable

    def __init__(self) -> None:
        self.count = 0  # values seen
        self._bins = Bins()
        self._lowest, self._highest = 2**31 - 1, -(2**31)  # ordered bits
        self._top, self._bottom = Tail(), Tail()  # ordered bits, those of the bottom as complements
        self._filled: Filled | None = None  # cache of the filled bins

    @property
    def kind(self) -> str:
        """What is collected, in words; statistics of one kind can be merged."""
        return "histogram"

    def update(self, array: np.ndarray) -> None:
        """Add all values of a float32 array of any shape.

        Raises
        ------
        NonFiniteError
            There are NaN or infinite values; part of the array may have been added.
        """
        values = np.ascontiguousarray(array, np.float32).reshape(-1)
        if not values.size:
            return
        self._filled = None
        bits, start = values.view(np.int32), 0
        while start < values.size:
            added = self._bins.add(kernels(), bits, start, self._top.threshold, ~self._bottom.threshold)
            if added.highest > LARGEST_BITS or added.lowest < ~LARGEST_BITS:
                nan_count = int(np.isnan(values).sum())
                raise NonFiniteError(nan_count, int(values.size - np.isfinite(values).sum()) - nan_count)
            self._top.add(added.top, added.above)
            self._bottom.add(~added.bottom, ~added.below)
            self._fit(added.lowest, added.highest)
            start = added.stop
        self.count += values.size

    def merge_from(self, other: Histogram) -> None:
        """Add the values that another one has seen."""
        self._filled = None
        if other.count:
            self._top.add(other._top.values())
            self._bottom.add(other._bottom.values())
            self._fit(other._lowest, other._highest)
            self._bins.add_bins(other._bins)
            self.count += other.count

    def merge(self, other: Histogram) -> Histogram:
        """A new histogram of the values of both."""
        merged = Histogram()
        merged.merge_from(self)
        merged.merge_from(other)
        return merged

    @property
    def minimum(self) -> float:
        """The smallest value seen. ValueError if there was none."""
        return self._value(self._lowest)

    @property
    def maximum(self) -> float:
        """The largest value seen. ValueError if there was none."""
        return self._value(self._highest)

    @property
    def power(self) -> float:
        """The mean of the squared values, each taken at the mean of its bin. ValueError if there was none."""
        self._require_values()
        filled = self._filled_bins()
        return float(np.sum(np.square(filled.means) * filled.counts)) / self.count

    def value_from_top(self, percentile: float) -> OrderStatistic:
        """The value that the fraction ``percentile`` of all values reaches in ascending order (where IFMR starts).

        It is the k-th largest of n, k = n - int(percentile * n), at least 1; exact for k up to TAIL.

        Raises
        ------
        ValueError
            The percentile is not in (0, 1], or there are no values.
        """
        position = self._position(percentile)
        tail = self._top.values()
        if position <= tail.size:
            return OrderStatistic(self._value(tail[-position]), True)
        means, counts = self.bins()
        return OrderStatistic(float(means[::-1][np.searchsorted(np.cumsum(counts[::-1]), position)]), False)

    def value_from_bottom(self, percentile: float) -> OrderStatistic:
        """The same in descending order (where IFMR starts): the k-th smallest."""
        position = self._position(percentile)
        tail = self._bottom.values()
        if position <= tail.size:
            return OrderStatistic(self._value(~tail[-position]), True)
        means, counts = self.bins()
        return OrderStatistic(float(means[np.searchsorted(np.cumsum(counts), position)]), False)

    def bins(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean (float64, ascending) and count (int64) of every bin that is not empty.

        Zeros and magnitudes below the window together are one bin at 0.
        """
        filled = self._filled_bins()
        means, counts = filled.means, filled.counts
        near_zero = self._near_zero()
        if near_zero:
            negative = int((filled.codes < 0).sum())
            means, counts = np.insert(means, negative, 0.0), np.insert(counts, negative, near_zero)
        return means, counts

    def spread_below(self, points: np.ndarray) -> np.ndarray:
        """How many values lie below each of the ascending points (float64), see `kernels_numpy.spread_below`."""
        bins = self._filled_bins()
        return kernels().spread_below(bins, self._near_zero(), self.minimum, self.maximum, points)

    def sums_outwards(self, negative: bool, least: float = 0.0) -> tuple[np.ndarray, int]:
        """Per bin of one side, how many values lie in it or farther out, and the sum of their magnitudes.

        Returns
        -------
        tuple[np.ndarray, int]
            The table, float64 [BINS_PER_SIGN + 2, 2], whose last two rows are 0, and whose rows for bins below the
            magnitude ``least`` have no meaning; and the key of the first bin.
        """
        first_key = self._bins.first_key
        start = max((int(np.float32(least).view(np.int32)) >> POSITION_BITS) - first_key, 0)
        return kernels().sums_outwards(self._filled_bins(), negative, first_key, start), first_key

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The whole state, for writing it to an .npz file; equal states give equal arrays."""
        codes, counts, sums, _ = self._bins.filled(kernels())
        return {
            "layout": np.array(_LAYOUT, np.int64),
            "count": np.array(self.count, np.int64),
            "codes": codes,
            "counts": counts,
            "position_sums": sums,
            "top": _values(self._top.values()),
            "bottom": _values(~self._bottom.values()[::-1]),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Histogram:
        """The histogram that `to_arrays` was called on.

        Raises
        ------
        ValueError
            The arrays are not such a state, or were written with other bins.
        """
        histogram = cls()
        _check_state(arrays)
        top, bottom = _ordered(arrays["top"]), _ordered(arrays["bottom"])
        if not top.size:
            return histogram
        histogram.count = int(arrays["count"])
        histogram._top.add(top)
        histogram._bottom.add(~bottom)
        histogram._fit(int(bottom.min()), int(top.max()))
        codes = np.asarray(arrays["codes"], np.int64)
        keys = np.where(codes < 0, -1 - codes, codes) - histogram._bins.first_key
        has_sides = histogram._bins.signs == 2 or not (codes < 0).any()
        if not has_sides or ((keys < 0) | (keys >= BINS_PER_SIGN)).any():
            raise ValueError("the bins of this histogram state do not fit its extremes")
        histogram._bins.put(codes, arrays["counts"], arrays["position_sums"])
        return histogram

    def merge_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Add a state from ``to_arrays``; raises the same errors as ``from_arrays``."""
        self.merge_from(Histogram.from_arrays(arrays))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        mine, theirs = self.to_arrays(), other.to_arrays()
        return all(mine[name].tobytes() == theirs[name].tobytes() for name in mine)

    def __reduce__(self) -> tuple[object, ...]:
        return Histogram.from_arrays, (self.to_arrays(),)

    def __repr__(self) -> str:
        return f"Histogram({self.count} values)" if self.count else "Histogram()"

    def _fit(self, lowest: int, highest: int) -> None:
        self._lowest, self._highest = min(lowest, self._lowest), max(highest, self._highest)
        # Ordered bits of a negative value are the complement of its magnitude's bits; ~0 is -0.0.
        self._bins.fit(first_key_for(max(self._highest, ~self._lowest)), 2 if self._lowest < ~0 else 1)

    def _near_zero(self) -> int:
        return self.count - int(self._filled_bins().counts.sum())

    def _filled_bins(self) -> Filled:
        if self._filled is None:
            self._filled = self._bins.filled(kernels())
        return self._filled

    def _value(self, ordered: int) -> float:
        self._require_values()
        return float(_values(np.array([ordered], np.int32))[0]) + 0.0

    def _position(self, percentile: float) -> int:
        self._require_values()
        if not 0 < percentile <= 1:
            raise ValueError(f"a percentile must be in (0, 1], not {percentile}")
        return max(1, self.count - math.floor(Fraction(shortest_decimal(percentile)) * self.count))

    def _require_values(self) -> None:
        if not self.count:
            raise ValueError("the histogram has seen no values")


def _values(ordered: np.ndarray) -> np.ndarray:
    return ordered_bits(ordered).view(np.float32)


def _ordered(values: np.ndarray) -> np.ndarray:
    return ordered_bits(np.ascontiguousarray(values, np.float32).view(np.int32))


def _check_state(arrays: dict[str, np.ndarray]) -> None:
    missing = {"layout", "count", "codes", "counts", "position_sums", "top", "bottom"} - set(arrays)
    if missing:
        raise ValueError(f"a histogram state without {', '.join(sorted(missing))}")
    if np.asarray(arrays["layout"]).tolist() != list(_LAYOUT):
        raise ValueError("a histogram state written with other bins")
    whole = [np.asarray(arrays[name]) for name in ("count", "codes", "counts", "position_sums")]
    if any(array.dtype.kind not in "iu" for array in whole):
        raise ValueError("the counts of this histogram state are no whole numbers")
    count, codes, counts, position_sums = whole
    if count.shape or counts.ndim != 1 or {codes.shape, position_sums.shape} != {counts.shape}:
        raise ValueError("the bins of this histogram state have other shapes")
    if count < 0 or (counts <= 0).any() or (counts > count).any() or int(counts.sum(dtype=object)) > count:
        raise ValueError("the counts of this histogram state contradict each other")
    if (np.diff(codes) <= 0).any() or (position_sums < 0).any() or (position_sums >> POSITION_BITS >= counts).any():
        raise ValueError("the bins of this histogram state contradict each other")
    top, bottom = np.asarray(arrays["top"]), np.asarray(arrays["bottom"])
    if any(tail.shape != (min(int(count), TAIL),) or not np.isfinite(tail).all() for tail in (top, bottom)):
        raise ValueError("the tails of this histogram state are incomplete")

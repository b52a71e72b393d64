"""The loops in NumPy, for installations without those in C, and as their specification."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

import numpy as np

from calibrant.algorithms.packed_bins import (
    BINS_PER_SIGN,
    MANTISSA_BITS,
    POSITION_BITS,
    TAIL,
    Added,
    Filled,
    add_packed,
    edges_at,
    ordered_bits,
    units,
)

_CHUNK = 1 << 20


def add(
    bits: np.ndarray,
    start: int,
    packed: np.ndarray,
    first_key: int,
    lowest_fitting: int,
    highest_fitting: int,
    above: int,
    below: int,
) -> Added:
    """Add float32 values, given as int32 bits [n], to packed bins in place, and collect those for the tails.

    Goes on from ``start`` until all are added, or values come that do not fit the window, or much has been collected.

    Parameters
    ----------
    packed : np.ndarray
        Packed bins, uint64: BINS_PER_SIGN of the positive side and, if values may be negative, as many of the negative.
        Magnitudes below the window are counted nowhere.
    first_key : int
        First key of the window.
    lowest_fitting, highest_fitting : int
        Ordered bits; values outside cannot be added.
    above, below : int
        Ordered bits; collect values > above, and values < below. If TAIL of the values added in this call reach
        farther out, the limits may be moved there, and values that the tail does not need left out.
    """
    tops, bottoms = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
    lowest, highest = 2**31 - 1, -(2**31)
    while start < bits.size and max(sum(map(len, tops)), sum(map(len, bottoms))) <= TAIL:
        chunk = bits[start : start + _CHUNK]
        ordered = ordered_bits(chunk)
        low, high = int(ordered.min()), int(ordered.max())
        lowest, highest = min(lowest, low), max(highest, high)
        if high > highest_fitting or low < lowest_fitting:
            break
        _count(chunk, packed, first_key)
        tops.append(ordered[ordered > above])
        bottoms.append(ordered[ordered < below])
        start += chunk.size
    return Added(start, lowest, highest, np.concatenate(tops), np.concatenate(bottoms), above, below)


def _count(bits: np.ndarray, packed: np.ndarray, first_key: int) -> None:
    magnitudes = bits & np.int32(0x7FFFFFFF)
    inside = magnitudes >= max(first_key << POSITION_BITS, 1)
    magnitudes = magnitudes[inside]
    places = (magnitudes >> POSITION_BITS) - first_key + BINS_PER_SIGN * (bits[inside] < 0)
    positions = magnitudes & ((1 << POSITION_BITS) - 1)
    counts = np.bincount(places, minlength=packed.size).astype(np.uint64)
    sums = np.bincount(places, weights=positions, minlength=packed.size).astype(np.uint64)
    packed += counts * units(np.arange(packed.size)) + sums


def filled(packed: np.ndarray | None, totals: np.ndarray | None, size: int, first_key: int) -> Filled:
    """The bins that are not empty.

    Parameters
    ----------
    packed : np.ndarray | None
        Packed bins, uint64 [size]; None: all are empty.
    totals : np.ndarray | None
        Counts and sums of positions to be added, int64 [2, size]; None: all are zero.
    size : int
        BINS_PER_SIGN, or twice that if there is a negative side, which comes second.
    first_key : int
        First key of the window.
    """
    totals = np.zeros((2, size), np.int64) if totals is None else totals.copy()
    if packed is not None:
        add_packed(totals, packed)
    counts, sums = totals
    order = np.r_[np.arange(BINS_PER_SIGN, size)[::-1], np.arange(BINS_PER_SIGN)]
    places = order[counts[order] > 0]
    keys = places % BINS_PER_SIGN + first_key
    exponents = keys >> MANTISSA_BITS
    mantissas = (keys & ((1 << MANTISSA_BITS) - 1)) << POSITION_BITS
    mantissas += np.where(exponents > 0, 1 << 23, 0)
    steps = (np.maximum(exponents, 1) + (1023 - 150) << 52).view(np.float64)  # powers of two, by their exponent bits
    means = (mantissas + sums[places] / counts[places]) * steps
    negative = places >= BINS_PER_SIGN
    return Filled(np.where(negative, -1 - keys, keys), counts[places], sums[places], np.where(negative, -means, means))


def sums_outwards(bins: Filled, negative: bool, first_key: int, start: int) -> np.ndarray:
    """Per bin of one side, how many values lie in it or farther out, and the sum of their magnitudes.

    Parameters
    ----------
    bins : Filled
        The bins that are not empty.
    first_key : int
        First key of the window.
    start : int
        The first row that is needed.

    Returns
    -------
    np.ndarray
        The table, float64 [BINS_PER_SIGN + 2, 2]; rows before ``start`` have no meaning, the last two are zero.
    """
    table = np.zeros((BINS_PER_SIGN + 2, 2))
    chosen = bins.codes < 0 if negative else bins.codes >= 0
    codes, counts, means = bins.codes[chosen], bins.counts[chosen], np.abs(bins.means[chosen])
    keys = -1 - codes if negative else codes
    table[keys - first_key] = np.stack([counts, counts * means], axis=1)
    needed = table[start:][::-1]
    np.cumsum(needed, axis=0, out=needed)
    return table


def spread_below(bins: Filled, zeros: int, minimum: float, maximum: float, points: np.ndarray) -> np.ndarray:
    """How many values lie below each point, float64 [points].

    The values of a bin are taken as spread evenly, around their mean, as far as the bin reaches on both sides of it.

    Parameters
    ----------
    bins : Filled
        The bins that are not empty.
    zeros : int
        Number of further values, which are zero. There is at least one value in all.
    minimum, maximum : float
        Extremes of all values.
    points : np.ndarray
        The points, float64, ascending.
    """
    negative = int((bins.codes < 0).sum())
    keys = np.where(bins.codes < 0, -1 - bins.codes, bins.codes)
    inner, outer = edges_at(keys), edges_at(keys + 1)
    low, high = np.where(bins.codes < 0, -outer, inner), np.where(bins.codes < 0, -inner, outer)
    means, counts = bins.means, bins.counts
    if zeros:
        low, high, means, counts = (
            np.insert(part, negative, value) for part, value in ((low, 0.0), (high, 0.0), (means, 0.0), (counts, zeros))
        )
    reach = np.clip(np.minimum(means - np.maximum(low, minimum), np.minimum(high, maximum) - means), 0.0, None)
    places = np.stack([means - reach, means + reach], axis=1).reshape(-1)
    total = np.cumsum(counts)
    return np.interp(points, places, np.stack([total - counts, total], axis=1).reshape(-1).astype(np.float64))


def add_rows(rows: np.ndarray, sums: np.ndarray) -> None:
    """Add float32 rows [n, columns] to float64 sums [columns], in place and one row after the other."""
    at_once = max(_CHUNK // max(sums.size, 1), 1)
    for start in range(0, len(rows), at_once):
        sums[:] = np.add.accumulate(np.vstack([sums, rows[start : start + at_once]]), axis=0)[-1]


def sums_between(values: np.ndarray, gradients: tuple[np.ndarray, np.ndarray], edges: np.ndarray) -> np.ndarray:
    """Sums of g², g and g·v over the values v between two edges, and their gradients g.

    Zeros count nowhere, gradients that are not finite count as zero. One value that is not finite makes a sum so.

    Parameters
    ----------
    values : np.ndarray
        Shape [samples, elements], float32.
    gradients : tuple[np.ndarray, np.ndarray]
        Two arrays like it.
    edges : np.ndarray
        Ascending, [edges], float32.

    Returns
    -------
    np.ndarray
        Shape [2, samples, edges + 1, 3], float64; the first interval ends with the first edge, which is in it.
    """
    samples, intervals = len(values), len(edges) + 2
    cells = np.where(values == 0, intervals - 1, np.searchsorted(edges, values))
    cells = (cells + intervals * np.arange(samples)[:, None]).reshape(-1)
    exact = values.reshape(-1).astype(np.float64)
    sums = np.empty((2, samples, intervals - 1, 3))
    for found, gradient in zip(sums, gradients, strict=True):
        slopes = np.nan_to_num(gradient.reshape(-1).astype(np.float64), nan=0, posinf=0, neginf=0)
        with np.errstate(invalid="ignore"):
            products = slopes * exact
        for place, weights in enumerate((slopes * slopes, slopes, products)):
            counted = np.bincount(cells, weights, samples * intervals).reshape(samples, intervals)
            found[..., place] = counted[:, :-1]
    return sums


def gains(scales: np.ndarray, levels: np.ndarray, table: np.ndarray, first_key: int) -> np.ndarray:
    """How much the squared error falls when values x > 0 may take the levels scale * (1 ... levels) beside zero.

    A value beyond the threshold t halfway between two levels gains 2 * scale * (x - t) from the upper one, so the gain
    is 2 * scale * sum over thresholds t of H(t), H(t) = sum over x > t of (x - t). With the values of a bin at their
    mean, H(t) is the larger of two lines: one counts the bin of t in, the other does not.

    Parameters
    ----------
    scales : np.ndarray
        Scale of each candidate, float64 [candidates], positive.
    levels : np.ndarray
        Number of levels of each candidate, int64 [candidates].
    table : np.ndarray
        Count and sum of the values from each bin on, float64 [BINS_PER_SIGN + 2, 2]; the last two rows are zero.
    first_key : int
        Key of the first bin.

    Returns
    -------
    np.ndarray
        The decrease of the squared error, float64 [candidates].
    """
    total = np.zeros(scales.size)
    for level in range(int(levels.max(initial=0))):
        beyond = _beyond((level + 0.5) * scales, table, first_key)
        if beyond is None:
            break
        total += np.where(level < levels, beyond, 0.0)
    return 2.0 * scales * total


def excess(scales: np.ndarray, levels: int, table: np.ndarray, first_key: int) -> np.ndarray:
    """Sum of H(t), see `gains`, over the first 0, 1, … ``levels`` thresholds: float64 [scales, levels + 1]."""
    sums = np.zeros((scales.size, levels + 1))
    for level in range(levels):
        beyond = _beyond((level + 0.5) * scales, table, first_key)
        sums[:, level + 1] = sums[:, level] + (0.0 if beyond is None else beyond)
    return sums


def _beyond(thresholds: np.ndarray, table: np.ndarray, first_key: int) -> np.ndarray | None:
    """H of each threshold, see `gains`; None where all of them lie beyond the window."""
    with np.errstate(over="ignore"):
        keys = (thresholds.astype(np.float32).view(np.int32) >> POSITION_BITS).astype(np.int64) - first_key
    if (keys >= BINS_PER_SIGN).all():
        return None
    keys = np.clip(keys, 0, BINS_PER_SIGN)
    with_bin = table[keys, 1] - thresholds * table[keys, 0]
    without = table[keys + 1, 1] - thresholds * table[keys + 1, 0]
    return np.maximum(with_bin, without)


def gains_of_uniform_bins(
    scales: np.ndarray, levels: np.ndarray, table: np.ndarray, low: float, width: float
) -> np.ndarray:
    """The same gain for values spread evenly inside equal bins, the first of which begins at ``low``.

    ``table`` is float64 [bins + 1, 2], count and sum of the values from that bin on; the last row is zero.
    """
    bins = table.shape[0] - 1
    total = np.zeros(scales.size)
    for level in range(int(levels.max(initial=0))):
        thresholds = (level + 0.5) * scales
        places = (thresholds - low) / width
        if (places >= bins).all():
            break
        indices = np.clip(places, 0, bins - 1).astype(np.int64)
        rest = indices + 1 - places
        inside = (table[indices, 0] - table[indices + 1, 0]) * width * rest * rest * 0.5
        within = table[indices + 1, 1] - thresholds * table[indices + 1, 0] + inside
        before = table[0, 1] - thresholds * table[0, 0]
        gain = np.where(places < 0, before, np.where(places >= bins, 0.0, within))
        total += np.where(level < levels, gain, 0.0)
    return 2.0 * scales * total


def greedy_walk(cumulated: np.ndarray, part: float) -> np.ndarray:
    """The ranges [start, end) that `calibrant.algorithms.hfmg.greedy_ranges` visits: int64 [ranges, 2].

    ``cumulated`` is float64 [bins + 1], the counts below each edge; ``part`` is the slice that a step cuts off.
    """
    values = cumulated.tolist()
    start, end = 0, len(values) - 1
    bins = end
    ranges = [(start, end)]
    while 4 * (end - start) > bins and end - start > 1:
        left = min(bisect_left(values, values[start] + part, start + 1, end), end - 1)
        right = max(bisect_right(values, values[end] - part, start, end) - 1, start + 1)
        freed = (left - start, values[start] - values[left]), (end - right, values[right] - values[end])
        if freed[0] > freed[1]:
            start = left
        else:
            end = right
        ranges.append((start, end))
    return np.array(ranges, np.int64)

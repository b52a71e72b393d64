"""The loops in plain numpy: the fallback without numba, and the plain statement of what the compiled ones do."""

from __future__ import annotations

import numpy as np

from calibrant.algorithms.kernels import COUNT_SHIFT, NEAR_ZERO_SLOTS, POSITION_BITS, TAIL, WINDOW, ordered_bits

_CHUNK = 1 << 20


def scan(bits: np.ndarray, above: int, below: int) -> tuple[int, int, np.ndarray, np.ndarray]:
    """Extremes of float32 values given as int32 bits [n], all in ordered bits.

    Returns
    -------
    lowest, highest : of all values.
    top, bottom : values > above, and values < below, in any order; where they are more than TAIL, at least the TAIL
        outermost of them (ties included as often as they occur).
    """
    ordered = ordered_bits(bits)
    top, bottom = ordered[ordered > above], ordered[ordered < below]
    if top.size > TAIL:
        top = np.partition(top, top.size - TAIL)[-TAIL:]
    if bottom.size > TAIL:
        bottom = np.partition(bottom, TAIL - 1)[:TAIL]
    return int(ordered.min()), int(ordered.max()), top, bottom


def accumulate(bits: np.ndarray, packed: np.ndarray, first_key: int) -> None:
    """Add float32 values, given as int32 bits [n], to packed bins (uint64), in place.

    ``packed`` is NEAR_ZERO_SLOTS bins for magnitudes below the window (only counted), then WINDOW bins of the positive
    side and, if any value of the window is negative, WINDOW bins of the negative side.
    """
    smallest = max(first_key << POSITION_BITS, 1)
    for start in range(0, bits.size, _CHUNK):
        chunk = bits[start : start + _CHUNK]
        magnitudes = chunk & np.int32(0x7FFFFFFF)
        inside = magnitudes >= smallest
        magnitudes = magnitudes[inside]
        places = (magnitudes >> POSITION_BITS) - first_key + NEAR_ZERO_SLOTS + WINDOW * (chunk[inside] < 0)
        positions = magnitudes & ((1 << POSITION_BITS) - 1)
        counts = np.bincount(places, minlength=packed.size).astype(np.uint64)
        sums = np.bincount(places, weights=positions, minlength=packed.size).astype(np.uint64)
        packed += (counts << np.uint64(COUNT_SHIFT)) + sums
        packed[0] += np.uint64(int(chunk.size - magnitudes.size) << COUNT_SHIFT)


def gains(scales: np.ndarray, levels: np.ndarray, table: np.ndarray, first_key: int) -> np.ndarray:
    """How much the squared error falls when values x > 0 may take the levels scale * (1 ... levels) beside zero.

    A value beyond the threshold t halfway between two levels gains 2 * scale * (x - t) from the upper one, so the gain
    is 2 * scale * sum over thresholds t of H(t), H(t) = sum over x > t of (x - t). With the values of a bin at their
    mean, H(t) is the larger of two lines: one counts the bin of t in, the other does not.

    Parameters
    ----------
    scales : float64 [candidates], positive.
    levels : int64 [candidates].
    table : float64 [WINDOW + 2, 2]; count and sum of the values from that bin on; the last two rows are zero.
    first_key : key of the first bin.

    Returns
    -------
    float64 [candidates]
    """
    total = np.zeros(scales.size)
    for level in range(int(levels.max(initial=0))):
        thresholds = (level + 0.5) * scales
        with np.errstate(over="ignore"):
            keys = (thresholds.astype(np.float32).view(np.int32) >> POSITION_BITS).astype(np.int64) - first_key
        if (keys >= WINDOW).all():
            break
        keys = np.clip(keys, 0, WINDOW)
        with_bin = table[keys, 1] - thresholds * table[keys, 0]
        without = table[keys + 1, 1] - thresholds * table[keys + 1, 0]
        total += np.where(level < levels, np.maximum(with_bin, without), 0.0)
    return 2.0 * scales * total


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

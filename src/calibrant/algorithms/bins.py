"""The bins of a histogram: counts and sums of positions on a window of float32 keys.

See `calibrant.algorithms.kernels` for what key, position and packed bins are. The window holds OCTAVES octaves; where
it lies follows from the largest magnitude alone. Row 0 is the positive side, row 1, if there is one, the negative.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from calibrant.algorithms.kernels import (
    MANTISSA_BITS,
    OCTAVES,
    PACKED_LIMIT,
    POSITION_BITS,
    WINDOW,
    Added,
    units,
)

LARGEST_BITS = 0x7F7FFFFF  # of a finite float32


def first_key_for(magnitude_bits: int) -> int:
    """The key at which the window begins when this is the largest magnitude, given as float32 bits."""
    return max((magnitude_bits >> 23) - (OCTAVES - 1), 0) << MANTISSA_BITS


def values_at(keys: np.ndarray, mean_positions: np.ndarray) -> np.ndarray:
    """The magnitudes (float64) at the given positions, in [0, 2^POSITION_BITS), of the bins with these keys."""
    exponents = keys >> MANTISSA_BITS
    mantissas = (keys & ((1 << MANTISSA_BITS) - 1)) << POSITION_BITS
    mantissas += np.where(exponents > 0, 1 << 23, 0)
    steps = (np.maximum(exponents, 1) + (1023 - 150) << 52).view(np.float64)  # powers of two, by their exponent bits
    return (mantissas + mean_positions) * steps


class Bins:
    """Integer bins that only grow; zeros and magnitudes below the window are not kept."""

    __slots__ = ("_packed", "_packed_count", "_totals", "first_key", "signs")

    def __init__(self):
        self.first_key = 0
        self.signs = 1
        self._packed = None  # the newest values, moved to the totals before a packed bin could overflow
        self._packed_count = 0
        self._totals = None  # int64 [2, signs, WINDOW]: counts and sums of positions

    def fit(self, first_key: int, signs: int) -> None:
        """Move the window up to ``first_key`` and make room for ``signs`` sides; both never go back."""
        dropped = min(first_key - self.first_key, WINDOW)
        added = signs - self.signs
        self.first_key, self.signs = first_key, signs
        if self._totals is not None:
            self._totals = _moved(self._totals, dropped, added)
        if self._packed is not None and (dropped or added):
            (places,) = self._packed.nonzero()
            counts, sums = _unpacked(self._packed, places)
            side, place = np.divmod(places, WINDOW)
            kept = place >= dropped
            moved = (side * WINDOW + place - dropped)[kept]
            self._packed = np.zeros(signs * WINDOW, np.uint64)
            self._packed[moved] = counts[kept].astype(np.uint64) * units(moved) + sums[kept].astype(np.uint64)

    def add(self, loops: ModuleType, bits: np.ndarray, start: int, above: int, below: int) -> Added:
        """Count float32 values, given as contiguous int32 bits [n], as far as the window fits them.

        ``loops`` are the kernels to use; other parameters and results: :func:`calibrant.algorithms.kernels_numpy.add`.
        """
        if self._packed_count == PACKED_LIMIT:
            self._totals, self._packed, self._packed_count = self.totals(), None, 0
        if self._packed is None:
            self._packed = np.zeros(self.signs * WINDOW, np.uint64)
        highest_fitting = min(((self.first_key >> MANTISSA_BITS) + OCTAVES << 23) - 1, LARGEST_BITS)
        lowest_fitting = ~highest_fitting if self.signs == 2 else ~0
        piece = bits[: start + PACKED_LIMIT - self._packed_count]
        found = loops.add(piece, start, self._packed, self.first_key, lowest_fitting, highest_fitting, above, below)
        self._packed_count += found.stop - start
        return found

    def add_bins(self, other: Bins) -> None:
        """Add what another has counted; this window must fit it."""
        dropped = min(self.first_key - other.first_key, WINDOW)
        self._totals, self._packed, self._packed_count = self.totals(), None, 0
        self._totals += _moved(other.totals(), dropped, self.signs - other.signs)

    def totals(self) -> np.ndarray:
        """A new int64 array [2, signs, WINDOW]: the counts, and the sums of the positions."""
        totals = np.zeros((2, self.signs, WINDOW), np.int64) if self._totals is None else self._totals.copy()
        if self._packed is not None:
            (places,) = self._packed.nonzero()
            totals.reshape(2, -1)[:, places] += _unpacked(self._packed, places)
        return totals

    def filled(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Bins that are not empty, in ascending order of their values.

        Returns
        -------
        codes : int64; the key of a positive bin, ``-1 - key`` of a negative one.
        counts, position_sums : int64.
        """
        if self._totals is None and self._packed is not None:
            (places,) = self._packed.nonzero()
            counts, sums = _unpacked(self._packed, places)
        else:
            counts, sums = self.totals().reshape(2, -1)
            (places,) = counts.nonzero()
            counts, sums = counts[places], sums[places]
        keys = places % WINDOW + self.first_key
        positive = int(np.searchsorted(places, WINDOW))
        ascending = np.r_[np.arange(positive, places.size)[::-1], np.arange(positive)]
        codes = np.where(places < WINDOW, keys, -1 - keys)
        return codes[ascending], counts[ascending], sums[ascending]

    def put(self, codes: np.ndarray, counts: np.ndarray, position_sums: np.ndarray) -> None:
        """The reverse of `filled`, into bins that are empty; every key must lie in the window."""
        keys = np.where(codes < 0, -1 - codes, codes) - self.first_key
        sides = (codes < 0).astype(np.int64)
        self._totals = np.zeros((2, self.signs, WINDOW), np.int64)
        self._totals[0, sides, keys] = counts
        self._totals[1, sides, keys] = position_sums


def _unpacked(packed: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts and sums of positions (int64) of the packed bins at these places."""
    chosen, unit = packed[places], units(places)
    counts = chosen // unit
    return counts.astype(np.int64), (chosen - counts * unit).astype(np.int64)


def _moved(arrays: np.ndarray, dropped: int, added_signs: int) -> np.ndarray:
    """Arrays [..., signs, WINDOW] without their first ``dropped`` bins, with empty ones at the end and in new sides."""
    if not dropped and not added_signs:
        return arrays
    moved = np.zeros((arrays.shape[0], arrays.shape[1] + added_signs, WINDOW), arrays.dtype)
    moved[:, : arrays.shape[1], : WINDOW - dropped] = arrays[:, :, dropped:]
    return moved

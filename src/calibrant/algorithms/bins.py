"""The bins of a histogram: counts and sums of positions on a window of float32 keys.

`calibrant.algorithms.packed_bins` defines key, position and packed bin. The window holds OCTAVES octaves; its place
follows from the largest magnitude alone. Row 0 is the positive side, row 1, if there is one, the negative side.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from calibrant.algorithms.packed_bins import (
    BINS_PER_SIGN,
    COUNT_SHIFT,
    MANTISSA_BITS,
    OCTAVES,
    PACKED_LIMIT,
    Added,
    Filled,
    add_packed,
    repacked,
    unpacked,
)

LARGEST_BITS = 0x7F7FFFFF  # of a finite float32


def first_key_for(magnitude_bits: int) -> int:
    """The first key of the window if this is the largest magnitude, given as float32 bits."""
    return max((magnitude_bits >> 23) - (OCTAVES - 1), 0) << MANTISSA_BITS


class Bins:
    """Bins of integers; zeros and magnitudes below the window are not kept.

    A packed bin that is half full is set aside. There are few of these, one for every 17 million values at most.
    """

    __slots__ = ("_aside", "_packed", "_room", "first_key", "signs")

    def __init__(self) -> None:
        self.first_key = 0
        self.signs = 1
        self._packed: np.ndarray | None = None
        self._room = 0  # values that can be added before a packed bin could overflow
        # Place of a bin → its count and sum of positions, to be added to what is packed.
        self._aside: dict[int, tuple[int, int]] = {}

    def fit(self, first_key: int, signs: int) -> None:
        """Move the window up to ``first_key`` and make room for ``signs`` sides; neither may decrease."""
        dropped = min(first_key - self.first_key, BINS_PER_SIGN)
        added = signs - self.signs
        self.first_key, self.signs = first_key, signs
        if dropped and self._aside:
            self._aside = {
                place - dropped: held for place, held in self._aside.items() if place % BINS_PER_SIGN >= dropped
            }
        if self._packed is not None and (dropped or added):
            (places,) = self._packed.nonzero()
            counts, sums = unpacked(self._packed, places)
            side, place = np.divmod(places, BINS_PER_SIGN)
            kept = place >= dropped
            moved = (side * BINS_PER_SIGN + place - dropped)[kept]
            self._packed = np.zeros(signs * BINS_PER_SIGN, np.uint64)
            self._packed[moved] = repacked(moved, counts[kept], sums[kept])

    def add(self, loops: ModuleType, bits: np.ndarray, start: int, above: int, below: int) -> Added:
        """Count float32 values, given as contiguous int32 bits [n], as far as the window fits them.

        ``loops`` are the kernels to use; other parameters and results: :func:`calibrant.algorithms.kernels_numpy.add`.
        """
        if self._packed is None:
            self._packed, self._room = np.zeros(self.signs * BINS_PER_SIGN, np.uint64), PACKED_LIMIT
        if not self._room:
            self._set_aside(self._packed)
        highest_fitting = min(((self.first_key >> MANTISSA_BITS) + OCTAVES << 23) - 1, LARGEST_BITS)
        lowest_fitting = ~highest_fitting if self.signs == 2 else ~0
        added: Added = loops.add(
            bits[: start + self._room],
            start,
            self._packed,
            self.first_key,
            lowest_fitting,
            highest_fitting,
            above,
            below,
        )
        self._room -= added.stop - start
        return added

    def _set_aside(self, packed: np.ndarray) -> None:
        (places,) = (packed >= np.uint64(PACKED_LIMIT // 2 << COUNT_SHIFT)).nonzero()
        for place, *held in zip(places.tolist(), *(found.tolist() for found in unpacked(packed, places)), strict=True):
            before = self._aside.get(place, (0, 0))
            self._aside[place] = before[0] + held[0], before[1] + held[1]
        packed[places] = 0
        self._room = PACKED_LIMIT // 2

    def add_bins(self, other: Bins) -> None:
        """Add the counts of other bins, which must fit into this window."""
        dropped = min(self.first_key - other.first_key, BINS_PER_SIGN)
        totals = self.totals()
        totals += _moved(other.totals(), dropped, self.signs - other.signs)
        self._hold(totals)

    def totals(self) -> np.ndarray:
        """A new int64 array [2, signs, BINS_PER_SIGN]: the counts, and the sums of the positions."""
        totals = np.zeros((2, self.signs, BINS_PER_SIGN), np.int64)
        flat = totals.reshape(2, -1)
        if self._packed is not None:
            add_packed(flat, self._packed)
        for place, held in self._aside.items():
            flat[:, place] += held
        return totals

    def filled(self, loops: ModuleType) -> Filled:
        """The bins that are not empty."""
        totals = self.totals().reshape(2, -1) if self._aside else None
        packed = None if self._aside else self._packed
        filled: Filled = loops.filled(packed, totals, self.signs * BINS_PER_SIGN, self.first_key)
        return filled

    def put(self, codes: np.ndarray, counts: np.ndarray, position_sums: np.ndarray) -> None:
        """The reverse of `filled`, for empty bins; every key must lie in the window."""
        keys = np.where(codes < 0, -1 - codes, codes) - self.first_key
        sides = (codes < 0).astype(np.int64)
        totals = np.zeros((2, self.signs, BINS_PER_SIGN), np.int64)
        totals[:, sides, keys] = counts, position_sums
        self._hold(totals)

    def _hold(self, totals: np.ndarray) -> None:
        """Take these counts and sums, int64 [2, signs, BINS_PER_SIGN], in place of all others."""
        counts, sums = totals.reshape(2, -1)
        (many,) = (counts >= PACKED_LIMIT // 2).nonzero()
        self._aside = {
            place: (count, total)
            for place, count, total in zip(many.tolist(), counts[many].tolist(), sums[many].tolist(), strict=True)
        }
        (few,) = ((counts > 0) & (counts < PACKED_LIMIT // 2)).nonzero()
        self._packed = np.zeros(counts.size, np.uint64)
        self._packed[few] = repacked(few, counts[few], sums[few])
        self._room = PACKED_LIMIT // 2


def _moved(arrays: np.ndarray, dropped: int, added_signs: int) -> np.ndarray:
    """[..., signs, BINS_PER_SIGN] without their first ``dropped`` bins, with empty ones at the end and in new sides."""
    if not dropped and not added_signs:
        return arrays
    moved = np.zeros((arrays.shape[0], arrays.shape[1] + added_signs, BINS_PER_SIGN), arrays.dtype)
    moved[:, : arrays.shape[1], : BINS_PER_SIGN - dropped] = arrays[:, :, dropped:]
    return moved

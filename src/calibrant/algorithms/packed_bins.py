"""How values are counted in bins, and the layout of these, for both forms of the loops.

See `calibrant.algorithms.histogram`:

- a float32 is handled by its bits; magnitude bits ``>> POSITION_BITS`` are its *key*, the low bits its *position* in
  the bin of that key;
- *ordered* bits sort like the values, see `ordered_bits`;
- a *packed* bin is a uint64: its count times its *unit*, plus the sum of the positions of its values. The unit of the
  bin at place p is 2^COUNT_SHIFT + p * 2^POSITION_BITS: larger than any sum of positions, and such that a value adds
  2^COUNT_SHIFT, p and its position side by side in one number.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

MANTISSA_BITS = 10  # bins per octave, as a power of two
POSITION_BITS = 23 - MANTISSA_BITS
OCTAVES = 24  # octaves in the window below the largest magnitude; what is smaller counts as zero
BINS_PER_SIGN = OCTAVES << MANTISSA_BITS  # bins of one sign
TAIL = 4096  # values kept exactly at either end
COUNT_SHIFT = POSITION_BITS + 25
PACKED_LIMIT = 2**25  # values a packed bin can take without overflow


class Added(NamedTuple):
    """What adding values to bins returns.

    Parameters
    ----------
    stop : int
        Index of the first value that was not added, from which to continue.
    lowest, highest : int
        Ordered bits of the extremes of all values looked at.
    top, bottom : np.ndarray
        Ordered bits, int32, of values for the two tails.
    above, below : int
        Ordered bits; TAIL of the values collected so far reach them, so later ones must lie beyond.
    """

    stop: int
    lowest: int
    highest: int
    top: np.ndarray
    bottom: np.ndarray
    above: int
    below: int


class Filled(NamedTuple):
    """The bins that are not empty, in ascending order of their values.

    Parameters
    ----------
    codes : np.ndarray
        The key of a positive bin, ``-1 - key`` of a negative one; int64.
    counts, position_sums : np.ndarray
        Number of values and sum of their positions in each bin; int64.
    means : np.ndarray
        Mean of the values in each bin, with its sign; float64.
    """

    codes: np.ndarray
    counts: np.ndarray
    position_sums: np.ndarray
    means: np.ndarray


def units(places: np.ndarray) -> np.ndarray:
    """The units (uint64) of the packed bins at these places."""
    return np.uint64(1 << COUNT_SHIFT) + (places.astype(np.uint64) << np.uint64(POSITION_BITS))


def unpacked(packed: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts and sums of positions (int64) of the packed bins at these places."""
    chosen, unit = packed[places], units(places)
    counts = chosen // unit
    return counts.astype(np.int64), (chosen - counts * unit).astype(np.int64)


def repacked(places: np.ndarray, counts: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """The packed bins (uint64) at these places with these counts, below PACKED_LIMIT, and sums of positions."""
    return counts.astype(np.uint64) * units(places) + sums.astype(np.uint64)


def add_packed(totals: np.ndarray, packed: np.ndarray) -> None:
    """Add packed bins [n] to counts and sums of positions, int64 [2, n], in place."""
    (places,) = packed.nonzero()
    totals[:, places] += unpacked(packed, places)


def edges_at(keys: np.ndarray) -> np.ndarray:
    """The smallest magnitudes (float64) of the bins with these keys (int64)."""
    normal = ((keys << 52 - MANTISSA_BITS) + (1023 - 127 << 52)).view(np.float64)  # by the bits of the result
    return np.where(keys >> MANTISSA_BITS > 0, normal, keys * 2.0 ** (POSITION_BITS - 149))


def ordered_bits(bits: np.ndarray) -> np.ndarray:
    """The int32 bits of float32 values made to sort like the values; applied twice, the bits again."""
    return bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))

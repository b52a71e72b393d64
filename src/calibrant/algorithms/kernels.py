"""The loops over raw values and over candidates, in the fastest form that is installed.

There are two forms with one interface and bit-identical results: ``kernels_numba`` (compiled once per machine, cached
on disk, releases the GIL) and ``kernels_numpy``. Neither numba nor a compiled loop is loaded before the first use.

Layout shared by both, see `calibrant.algorithms.histogram`:

- a float32 is handled by its bits; magnitude bits ``>> POSITION_BITS`` are its *key*, the low bits its *position* in
  the bin of that key;
- *ordered* bits sort like the values, see `ordered_bits`;
- a *packed* bin is a uint64: count in the bits from COUNT_SHIFT on, sum of the positions below.
"""

from __future__ import annotations

import functools
from types import ModuleType

import numpy as np

# Compiled loops hold these numbers, and numba's cache only notices a change of kernels_numba.py itself.
MANTISSA_BITS = 10  # bins per octave, as a power of two
POSITION_BITS = 23 - MANTISSA_BITS
OCTAVES = 24  # octaves in the window below the largest magnitude; what is smaller counts as zero
WINDOW = OCTAVES << MANTISSA_BITS  # bins of one sign
TAIL = 4096  # values kept exactly at either end
COUNT_SHIFT = POSITION_BITS + 25
PACKED_LIMIT = 2**25  # values a packed bin can take without overflow
NEAR_ZERO_SLOTS = 8  # bins in front of the packed ones that share the zeros, so that no single one is a bottleneck


@functools.cache
def kernels() -> ModuleType:
    """``kernels_numba`` where numba can be imported, else ``kernels_numpy``."""
    try:
        from calibrant.algorithms import kernels_numba
    except ImportError:
        from calibrant.algorithms import kernels_numpy

        return kernels_numpy
    return kernels_numba


def ordered_bits(bits: np.ndarray) -> np.ndarray:
    """The int32 bits of float32 values made to sort like the values; applied twice, the bits again."""
    return bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))

"""The loops over raw values and over candidates, in the form that is worth its while.

There are two forms with one interface and bit-identical results: ``kernels_numba`` (releases the GIL; twenty times as
fast, but to be compiled once per machine) and ``kernels_numpy``. Which of them has done what does not show in any
result, so work begins in numpy and goes over to the compiled loops as soon as there is enough of it.

Layout shared by both, see `calibrant.algorithms.histogram`:

- a float32 is handled by its bits; magnitude bits ``>> POSITION_BITS`` are its *key*, the low bits its *position* in
  the bin of that key;
- *ordered* bits sort like the values, see `ordered_bits`;
- a *packed* bin is a uint64: count in the bits from COUNT_SHIFT on, sum of the positions below.
"""

from __future__ import annotations

import functools
import threading
from types import ModuleType

import numpy as np

from calibrant.algorithms.kernel_cache import cache_folder, compiled_before

# Compiled loops hold these numbers, and numba's cache only notices a change of kernels_numba.py itself.
MANTISSA_BITS = 10  # bins per octave, as a power of two
POSITION_BITS = 23 - MANTISSA_BITS
OCTAVES = 24  # octaves in the window below the largest magnitude; what is smaller counts as zero
WINDOW = OCTAVES << MANTISSA_BITS  # bins of one sign
TAIL = 4096  # values kept exactly at either end
COUNT_SHIFT = POSITION_BITS + 25
PACKED_LIMIT = 2**25  # values a packed bin can take without overflow
NEAR_ZERO_SLOTS = 8  # bins in front of the packed ones that share the zeros, so that no single one is a bottleneck


# Work is counted in values. These amounts take numpy about as long as the step that they are set against.
WORTH_LOADING = 30_000_000  # loading numba and the loops from its cache on disk
WORTH_COMPILING = 100_000_000  # compiling them

_lock = threading.Lock()
_work = 0


def kernels(work: int) -> ModuleType:
    """The form to use for this much more work: a number of values, or of (candidate, level) pairs."""
    global _work
    if not _enough():
        with _lock:
            _work += work
        if not _enough():
            from calibrant.algorithms import kernels_numpy

            return kernels_numpy
    return compiled_kernels()


@functools.cache
def compiled_kernels() -> ModuleType:
    """``kernels_numba`` where numba can be imported, else ``kernels_numpy``."""
    try:
        with cache_folder():
            from calibrant.algorithms import kernels_numba
    except ImportError:
        from calibrant.algorithms import kernels_numpy

        return kernels_numpy
    return kernels_numba


def _enough() -> bool:
    return _work >= (WORTH_LOADING if compiled_before() else WORTH_COMPILING)


def ordered_bits(bits: np.ndarray) -> np.ndarray:
    """The int32 bits of float32 values made to sort like the values; applied twice, the bits again."""
    return bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))

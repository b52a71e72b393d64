"""The loops compiled with numba; what each computes is said in `calibrant.algorithms.kernels_numpy`.

Compilation happens on import and is read from numba's cache ever after, see `calibrant.algorithms.kernel_cache`. No
loop is parallel in itself: they release the GIL, so that several tensors can be observed by as many threads (numba's
own thread pool is not safe for that).
The inner loops of fixed length without branches are what the compiler turns into vector instructions.
"""

from __future__ import annotations

import numba
import numpy as np
from numba.types import Array, float32, float64, int32, int64, uint64

from calibrant.algorithms.kernels import COUNT_SHIFT, NEAR_ZERO_SLOTS, POSITION_BITS, TAIL, WINDOW

_BLOCK = 1024
_GROUP = 128
_STRIP = 1024
_ROOM = 4 * TAIL
_ORDER = np.int32(0x7FFFFFFF)
_POSITION = np.uint32((1 << POSITION_BITS) - 1)
_ONE = np.uint64(1 << COUNT_SHIFT)
_SHIFT = np.int32(POSITION_BITS)

_bits = Array(int32, 1, "C", readonly=True)
_table = Array(float64, 2, "C", readonly=True)
_rows = Array(float32, 2, "C", readonly=True)
_floats = Array(float64, 1, "C", readonly=True)
_integers = Array(int64, 1, "C", readonly=True)


def _compiled(signature):
    def compile_function(function):
        try:
            return numba.njit(signature, nogil=True, cache=True)(function)
        except RuntimeError:  # no folder can be written to for the cache
            return numba.njit(signature, nogil=True)(function)

    return compile_function


@_compiled(
    numba.types.Tuple((int64, int32, int32, int32[::1], int32[::1]))(
        _bits, int64, uint64[::1], int32, int32, int32, int64, int64
    )
)
def add(bits, start, packed, first_key, lowest_fitting, highest_fitting, above, below):
    """See `kernels_numpy.add`; what does not fit, and full tails, are noticed after each block."""
    chosen = np.empty(_BLOCK, np.uint32)
    top = np.empty(_ROOM + 1, np.int32)
    bottom = np.empty(_ROOM + 1, np.int32)
    in_top = 0
    in_bottom = 0
    highest = np.int32(-(2**31))
    lowest = np.int32(2**31 - 1)
    smallest = max(np.int32(first_key << _SHIFT), np.int32(1))
    to_positive = np.int32(NEAR_ZERO_SLOTS - first_key)
    to_negative = np.int32(NEAR_ZERO_SLOTS + WINDOW - first_key)
    while start < bits.size:
        block = bits[start : start + _BLOCK]
        top_before = in_top
        bottom_before = in_bottom
        for first in range(0, block.size, _GROUP):
            group = block[first : first + _GROUP]
            places = chosen[first : first + _GROUP]
            high = np.int32(-(2**31))
            low = np.int32(2**31 - 1)
            if group.size == _GROUP:
                for index in range(_GROUP):
                    value = group[index]
                    magnitude = np.int32(value & _ORDER)
                    ordered = np.int32(value ^ ((value >> 31) & _ORDER))
                    high = ordered if ordered > high else high
                    low = ordered if ordered < low else low
                    place = np.int32(magnitude >> _SHIFT) + (to_negative if value < 0 else to_positive)
                    near_zero = np.int32(index & (NEAR_ZERO_SLOTS - 1))
                    places[index] = np.uint32(place if magnitude >= smallest else near_zero)
            else:
                for index in range(group.size):
                    value = group[index]
                    magnitude = np.int32(value & _ORDER)
                    ordered = np.int32(value ^ ((value >> 31) & _ORDER))
                    high = max(high, ordered)
                    low = min(low, ordered)
                    place = np.int32(magnitude >> _SHIFT) + (to_negative if value < 0 else to_positive)
                    places[index] = np.uint32(place if magnitude >= smallest else np.int32(0))
            if high > above:
                for index in range(group.size):
                    ordered = np.int32(group[index] ^ ((group[index] >> 31) & _ORDER))
                    top[in_top] = ordered
                    in_top += 1 if ordered > above else 0
            if low < below:
                for index in range(group.size):
                    ordered = np.int32(group[index] ^ ((group[index] >> 31) & _ORDER))
                    bottom[in_bottom] = ordered
                    in_bottom += 1 if ordered < below else 0
            highest = max(highest, high)
            lowest = min(lowest, low)
        if highest > highest_fitting or lowest < lowest_fitting:
            in_top = top_before
            in_bottom = bottom_before
            break
        if block.size == _BLOCK:
            for index in range(_BLOCK):
                packed[chosen[index]] += np.uint64(_ONE + np.uint64(np.uint32(block[index]) & _POSITION))
        else:
            for index in range(block.size):
                packed[chosen[index]] += np.uint64(_ONE + np.uint64(np.uint32(block[index]) & _POSITION))
        start += block.size
        if max(in_top, in_bottom) > _ROOM - _BLOCK:
            break
    return start, lowest, highest, top[:in_top].copy(), bottom[:in_bottom].copy()


@_compiled(numba.void(_rows, float64[::1]))
def add_rows(rows, sums):
    """See `kernels_numpy.add_rows`; goes through the columns in strips that stay in the cache."""
    for start in range(0, sums.size, _STRIP):
        strip = sums[start : start + _STRIP]
        for row in range(rows.shape[0]):
            values = rows[row, start : start + _STRIP]
            for column in range(strip.size):
                strip[column] += np.float64(values[column])


@_compiled(float64[::1](_floats, _integers, _table, int64))
def gains(scales, levels, table, first_key):
    """See `kernels_numpy.gains`."""
    result = np.empty(scales.size, np.float64)
    for candidate in range(scales.size):
        scale = scales[candidate]
        total = 0.0
        for level in range(levels[candidate]):
            threshold = (level + 0.5) * scale
            key = np.int64(np.float32(threshold).view(np.int32) >> _SHIFT) - first_key
            if key >= WINDOW:
                break
            key = max(key, np.int64(0))
            with_bin = table[key, 1] - threshold * table[key, 0]
            without = table[key + 1, 1] - threshold * table[key + 1, 0]
            total += max(with_bin, without)
        result[candidate] = 2.0 * scale * total
    return result


@_compiled(float64[::1](_floats, _integers, _table, float64, float64))
def gains_of_uniform_bins(scales, levels, table, low, width):
    """See `kernels_numpy.gains_of_uniform_bins`."""
    result = np.empty(scales.size, np.float64)
    bins = table.shape[0] - 1
    for candidate in range(scales.size):
        scale = scales[candidate]
        total = 0.0
        for level in range(levels[candidate]):
            threshold = (level + 0.5) * scale
            place = (threshold - low) / width
            if place >= bins:
                break
            if place < 0.0:
                total += table[0, 1] - threshold * table[0, 0]
            else:
                index = np.int64(place)
                rest = index + 1 - place
                inside = (table[index, 0] - table[index + 1, 0]) * width * rest * rest * 0.5
                total += table[index + 1, 1] - threshold * table[index + 1, 0] + inside
        result[candidate] = 2.0 * scale * total
    return result

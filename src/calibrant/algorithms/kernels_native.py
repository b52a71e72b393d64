"""The loops in C (folder ``native``); what each computes is said in `calibrant.algorithms.kernels_numpy`.

The extension is built when the package is installed, where there is a compiler. Where it is missing, importing this
module raises ImportError. Other threads run while it computes, so several tensors are observed at once.
"""

from __future__ import annotations

import numpy as np

from calibrant.algorithms import _native
from calibrant.algorithms.packed_bins import BINS_PER_SIGN, COUNT_SHIFT, MANTISSA_BITS, OCTAVES, TAIL, Added, Filled

if _native.LAYOUT != (MANTISSA_BITS, OCTAVES, TAIL, COUNT_SHIFT):
    raise ImportError(f"{_native.__file__} was built for other bins, install calibrant again")

_ROOM = 4 * TAIL + 16


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
    """See `kernels_numpy.add`; what does not fit, and full tails, are noticed after each block of 256 values."""
    limits = max(above, -(2**31)), min(below, 2**31 - 1)  # the bits that are left out are those of a NaN
    found, top, bottom = np.array([0, 0, 0, 0, *limits], np.int32), np.empty(_ROOM, np.int32), np.empty(_ROOM, np.int32)
    stop = _native.add(
        bits.ctypes.data,
        bits.size,
        start,
        packed.ctypes.data,
        first_key,
        lowest_fitting,
        highest_fitting,
        found.ctypes.data,
        top.ctypes.data,
        bottom.ctypes.data,
    )
    lowest, highest, in_top, in_bottom, above, below = found.tolist()
    return Added(stop, lowest, highest, top[:in_top].copy(), bottom[:in_bottom].copy(), above, below)


def filled(packed: np.ndarray | None, totals: np.ndarray | None, size: int, first_key: int) -> Filled:
    """See `kernels_numpy.filled`."""
    integers, means = np.empty((3, size), np.int64), np.empty(size)
    count = _native.filled(
        0 if packed is None else packed.ctypes.data,
        0 if totals is None else totals.ctypes.data,
        size,
        first_key,
        *(row.ctypes.data for row in (*integers, means)),
    )
    codes, counts, position_sums = integers[:, :count].copy()
    return Filled(codes, counts, position_sums, means[:count].copy())


def sums_outwards(bins: Filled, negative: bool, first_key: int, start: int) -> np.ndarray:
    """See `kernels_numpy.sums_outwards`."""
    table = np.zeros((BINS_PER_SIGN + 2, 2))
    _native.sums_outwards(
        bins.codes.ctypes.data,
        bins.counts.ctypes.data,
        bins.means.ctypes.data,
        bins.codes.size,
        negative,
        first_key,
        start,
        table.ctypes.data,
    )
    return table


def spread_below(bins: Filled, zeros: int, minimum: float, maximum: float, points: np.ndarray) -> np.ndarray:
    """See `kernels_numpy.spread_below`."""
    points = np.ascontiguousarray(points, np.float64)
    below = np.empty(points.size)
    _native.spread_below(
        bins.codes.ctypes.data,
        bins.counts.ctypes.data,
        bins.means.ctypes.data,
        bins.codes.size,
        zeros,
        minimum,
        maximum,
        points.ctypes.data,
        points.size,
        below.ctypes.data,
    )
    return below


def add_rows(rows: np.ndarray, sums: np.ndarray) -> None:
    """See `kernels_numpy.add_rows`."""
    rows = np.ascontiguousarray(rows, np.float32)
    count, columns = rows.shape
    _native.add_rows(rows.ctypes.data, count, columns, sums.ctypes.data)


def sums_between(values: np.ndarray, gradients: tuple[np.ndarray, np.ndarray], edges: np.ndarray) -> np.ndarray:
    """See `kernels_numpy.sums_between`."""
    values, edges = np.ascontiguousarray(values, np.float32), np.ascontiguousarray(edges, np.float32)
    first, second = (np.ascontiguousarray(each, np.float32) for each in gradients)
    samples, elements = values.shape
    sums = np.empty((2, samples, len(edges) + 1, 3))
    _native.sums_between(
        values.ctypes.data,
        first.ctypes.data,
        second.ctypes.data,
        samples,
        elements,
        edges.ctypes.data,
        edges.size,
        sums.ctypes.data,
    )
    return sums


def gains(scales: np.ndarray, levels: np.ndarray, table: np.ndarray, first_key: int) -> np.ndarray:
    """See `kernels_numpy.gains`."""
    scales, levels, table = _ready(scales, levels, table)
    result = np.empty(scales.size)
    _native.gains(scales.size, scales.ctypes.data, levels.ctypes.data, table.ctypes.data, first_key, result.ctypes.data)
    return result


def excess(scales: np.ndarray, levels: int, table: np.ndarray, first_key: int) -> np.ndarray:
    """See `kernels_numpy.excess`."""
    scales, table = np.ascontiguousarray(scales, np.float64), np.ascontiguousarray(table, np.float64)
    sums = np.empty((scales.size, levels + 1))
    _native.excess(scales.size, scales.ctypes.data, levels, table.ctypes.data, first_key, sums.ctypes.data)
    return sums


def gains_of_uniform_bins(
    scales: np.ndarray, levels: np.ndarray, table: np.ndarray, low: float, width: float
) -> np.ndarray:
    """See `kernels_numpy.gains_of_uniform_bins`."""
    scales, levels, table = _ready(scales, levels, table)
    result = np.empty(scales.size)
    _native.gains_of_uniform_bins(
        scales.size,
        scales.ctypes.data,
        levels.ctypes.data,
        table.ctypes.data,
        len(table) - 1,
        low,
        width,
        result.ctypes.data,
    )
    return result


def greedy_walk(cumulated: np.ndarray, part: float) -> np.ndarray:
    """See `kernels_numpy.greedy_walk`."""
    cumulated = np.ascontiguousarray(cumulated, np.float64)
    ranges = np.empty((cumulated.size - 1, 2), np.int64)
    count = _native.greedy_walk(cumulated.ctypes.data, len(ranges), part, ranges.ctypes.data)
    return ranges[:count].copy()


def limit_forms(places: int) -> int:
    """Use only the first ``places`` forms of `add` for this kind of processor; returns how count there are."""
    return _native.limit_forms(places)


def _ready(scales: np.ndarray, levels: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        np.ascontiguousarray(scales, np.float64),
        np.ascontiguousarray(levels, np.int64),
        np.ascontiguousarray(table, np.float64),
    )

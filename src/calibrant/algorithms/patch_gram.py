"""Second moments of a layer's input patches, which together with an error of its weights give the error of its outputs.

With a patch p and an error e of the weights of one output, the mean squared error of that output is eᵀ G e, where G is
the mean of p pᵀ. Only input channels of one group meet in an output, so each group has a G of its own; those of a wide
group are divided into blocks, and moments between blocks are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from calibrant.algorithms.order_free_mean import OrderFreeMean
from calibrant.algorithms.ordered_sum import DIGITS
from calibrant.algorithms.patch_mean import PatchGeometry

LARGEST_BLOCK = 512
"""Rows of the largest block, as long as one input channel does not have more."""
_BITS = 18
_ROWS_AT_A_TIME = 1 << (53 - 2 * _BITS)  # sums of their products are exact in float64, whatever the order
_VALUES_AT_A_TIME = 1 << 22
_EXACT = range(-32, 16)
"""Exponents of values whose products OrderFreeMean takes as they are: from 2^-64 on, and less than 2^84."""
_ENOUGH = 1024
_OPEN_SUMS = 2
"""Sums that are not in the mean yet, as adding to that takes longer than a product of few rows."""


class PatchGram:
    """Mean of p pᵀ over batch and output positions, for blocks of input channels.

    Values are rounded to 2^-18 of the largest of the batch. From there on all sums are exact, so that neither the order
    of the batches nor the threads of a matrix product show in the state.

    Parameters
    ----------
    geometry : PatchGeometry
        How the kernel moves.
    group : int
        Number of input channels that meet in an output: all, those of one group, or 1 for a depthwise kernel.
    """

    __slots__ = ("_mean", "_open", "geometry", "group")
    __hash__ = None  # type: ignore[assignment]  # mutable

    def __init__(self, geometry: PatchGeometry, group: int):
        self.geometry = geometry
        self.group = group
        self._mean = OrderFreeMean()
        self._open: dict[int, _Products] = {}  # by exponent

    @property
    def count(self) -> int:
        """Output positions seen, over all batches."""
        return self._mean.count + sum(sums.count for sums in self._open.values())

    @property
    def kind(self) -> str:
        """What is collected, in words; statistics of one kind can be merged."""
        return f"patch moments of {self.geometry} in groups of {self.group}"

    @property
    def offsets(self) -> int:
        """Number of kernel offsets."""
        return math.prod(window.size for window in self.geometry.windows)

    @property
    def most_bytes(self) -> int:
        """The memory that the state of one group of input channels takes at most."""
        rows = self.offsets * block_channels(self.offsets, self.group)
        return 8 * block_count(self.offsets, self.group) * rows**2 * (DIGITS + _OPEN_SUMS)

    def update(self, values: np.ndarray) -> None:
        """Add one batch, finite float32 of any number of axes that has those of the geometry."""
        exponent = exponent_of(values)
        for patches in whole_patches(values, exponent, self.geometry, self.group):
            self._add(patches, exponent)

    def _add(self, patches: np.ndarray, exponent: int) -> None:
        """Add up to _ROWS_AT_A_TIME patches of whole numbers, [blocks, rows, patches], times 2^exponent."""
        sums = self._open.pop(exponent, None)
        if sums is not None and sums.count + patches.shape[-1] > _ROWS_AT_A_TIME:
            self._close(exponent, sums)
            sums = None
        self._open[exponent] = sums = sums or _Products()
        sums.add(patches)
        if exponent not in _EXACT or len(self._open) > _OPEN_SUMS:
            first = exponent if exponent not in _EXACT else next(iter(self._open))
            self._close(first, self._open.pop(first))

    def _close(self, exponent: int, sums: _Products) -> None:
        self._mean.add(np.ldexp(sums.total(), 2 * exponent), sums.count)

    def _closed(self) -> OrderFreeMean:
        """The mean of everything that was seen."""
        while self._open:
            self._close(*self._open.popitem())
        return self._mean

    def merge_from(self, other: PatchGram) -> None:
        """Add the batches that another one has seen.

        Raises
        ------
        ValueError
            They are of different kinds.
        """
        if self.kind != other.kind:
            raise ValueError("patches of different layers cannot be merged")
        self._closed().merge_from(other._closed())

    def moments(self) -> np.ndarray:
        """The mean of p pᵀ, float64 [blocks, rows, rows]; rows are kernel offsets times the channels of a block.

        Raises
        ------
        ValueError
            No batch has been seen.
        """
        return self._closed().value()

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The state, for storing it; empty before the first batch."""
        return self._closed().to_arrays()

    def merge_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Add a state from :meth:`to_arrays`."""
        self._closed().merge_arrays(arrays)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PatchGram):
            return NotImplemented
        return self.kind == other.kind and self._closed() == other._closed()


class _Products:
    """Exact sums of products of whole numbers; few patches wait until there are enough for one large product."""

    __slots__ = ("_total", "_waiting", "_waits", "count")

    def __init__(self) -> None:
        self.count = self._waits = 0
        self._total: np.ndarray | None = None
        self._waiting: list[np.ndarray] = []

    def add(self, patches: np.ndarray) -> None:
        """Add some, [blocks, rows, patches]."""
        self.count += patches.shape[-1]
        self._waits += patches.shape[-1]
        self._waiting.append(patches)
        if self._waits >= _ENOUGH:
            self.total()

    def total(self) -> np.ndarray:
        """The sums so far, float64 [blocks, rows, rows]."""
        if self._waiting:
            patches = np.concatenate(self._waiting, axis=-1).astype(np.float64)
            products = patches @ patches.transpose(0, 2, 1)
            self._total = products if self._total is None else np.add(self._total, products, out=self._total)
            self._waiting, self._waits = [], 0
        if self._total is None:
            raise ValueError("there are no patches")
        return self._total


def exponent_of(values: np.ndarray) -> int:
    """The exponent of the steps that values are rounded to: 2^-18 of the power of two above the largest."""
    return math.frexp(float(np.abs(values).max(initial=0.0)))[1] - _BITS


def whole_patches(values: np.ndarray, exponent: int, geometry: PatchGeometry, group: int) -> Iterator[np.ndarray]:
    """The patches of a batch, in steps of 2^exponent, in parts whose products have exact sums in float64.

    Parameters
    ----------
    values : np.ndarray
        Finite float32 of any number of axes that has those of the geometry.
    exponent : int
        At least that of :func:`exponent_of`.
    geometry : PatchGeometry
        How the kernel moves.
    group : int
        Number of input channels that meet in an output.

    Yields
    ------
    np.ndarray
        Whole numbers, float32 [blocks, offsets and channels, samples and positions].
    """
    offsets = math.prod(window.size for window in geometry.windows)
    samples = channels_last(values, geometry)
    positions = math.prod(
        window.positions(length) for window, length in zip(geometry.windows, samples.shape[1:-1], strict=True)
    )
    step = max(_VALUES_AT_A_TIME // max(positions * offsets * samples.shape[-1], 1), 1)
    for start in range(0, len(samples) if positions else 0, step):
        codes = np.rint(np.ldexp(samples[start : start + step], -exponent))
        parts = [np.ascontiguousarray(np.moveaxis(codes, -1, 0))]
        for place, window in enumerate(geometry.windows):
            parts = [part for read in parts for part in window.read(read, 2 + place)]
        patches = in_blocks(np.stack(parts).reshape(offsets, codes.shape[-1], -1), group)
        for row in range(0, patches.shape[-1], _ROWS_AT_A_TIME):
            yield patches[..., row : row + _ROWS_AT_A_TIME]


def chosen_patches(
    values: np.ndarray, exponent: int, geometry: PatchGeometry, group: int, step: int
) -> Iterator[np.ndarray]:
    """Every ``step``-th of the patches of :func:`whole_patches`, of which no other is made.

    Parameters
    ----------
    values : np.ndarray
        Finite float32 of any number of axes that has those of the geometry.
    exponent : int
        At least that of :func:`exponent_of`.
    geometry : PatchGeometry
        How the kernel moves.
    group : int
        Number of input channels that meet in an output.
    step : int
        At least 1.

    Yields
    ------
    np.ndarray
        Whole numbers, float32 [blocks, offsets and channels, samples and positions].
    """
    samples = channels_last(values, geometry)
    sizes, rows = samples.shape[1:-1], samples.reshape(-1, samples.shape[-1])
    reads = [  # [kernel offset, position] → 1 + what is read along an axis, 0 in the padding
        np.stack(window.read(np.arange(1, size + 1), 0)) for window, size in zip(geometry.windows, sizes, strict=True)
    ]
    shape = (len(samples), *(read.shape[-1] for read in reads))
    offsets = math.prod(len(read) for read in reads)
    chosen = np.arange(0, math.prod(shape), step)
    at_a_time = max(min(_VALUES_AT_A_TIME // max(offsets * rows.shape[-1], 1), _ROWS_AT_A_TIME), 1)
    for start in range(0, len(chosen), at_a_time):
        sample, *places = np.unravel_index(chosen[start : start + at_a_time], shape)
        row, outside = sample[None], np.zeros((1, len(sample)), bool)
        for read, place, size in zip(reads, places, sizes, strict=True):
            found = read[:, place]
            row = (row[:, None] * size + found - 1).reshape(-1, len(sample))
            outside = (outside[:, None] | (found == 0)).reshape(-1, len(sample))
        codes = np.rint(np.ldexp(rows[row.clip(0)], -exponent))
        codes[outside] = 0.0
        yield in_blocks(codes.transpose(0, 2, 1), group)


def channels_last(values: np.ndarray, geometry: PatchGeometry) -> np.ndarray:
    """Values as [samples, the spatial axes, channels]; all other axes count as samples."""
    spatial, channel = geometry.spatial_axes, geometry.channel_axis % values.ndim
    others = tuple(axis for axis in range(values.ndim) if axis not in (*spatial, channel))
    moved = values.transpose(*others, *spatial, channel)
    return moved.reshape(-1, *moved.shape[len(others) :])


def block_count(offsets: int, group: int) -> int:
    """Number of blocks that the input channels of a group are divided into."""
    return -(-group // max(LARGEST_BLOCK // offsets, 1))


def block_channels(offsets: int, group: int) -> int:
    """Number of input channels of a block; the last block of a group is filled up with zeros."""
    return -(-group // block_count(offsets, group))


def in_blocks(values: np.ndarray, group: int) -> np.ndarray:
    """[offsets, channels, columns] → [blocks, offsets and channels of a block, columns]."""
    offsets, channels, columns = values.shape
    count, width = block_count(offsets, group), block_channels(offsets, group)
    grouped = values.reshape(offsets, channels // group, group, columns)
    filled = np.pad(grouped, [(0, 0), (0, 0), (0, count * width - group), (0, 0)])
    divided = filled.reshape(offsets, channels // group * count, width, columns)
    return divided.transpose(1, 0, 2, 3).reshape(-1, offsets * width, columns)


def out_of_blocks(blocks: np.ndarray, offsets: int, group: int) -> np.ndarray:
    """The inverse of :func:`in_blocks`."""
    count, width = block_count(offsets, group), block_channels(offsets, group)
    divided = blocks.reshape(-1, offsets, width, blocks.shape[-1]).transpose(1, 0, 2, 3)
    filled = divided.reshape(offsets, -1, count * width, blocks.shape[-1])
    return filled[:, :, :group].reshape(offsets, -1, blocks.shape[-1])

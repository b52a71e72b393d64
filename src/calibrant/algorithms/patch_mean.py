"""The mean input patch of a layer, which together with its weights determines its mean output.

A convolution is linear, so the mean of its outputs over batch and positions is its kernel times the mean of the patches
it reads, zeros of the padding included. Which positions a kernel offset visits depends on each axis separately, so a
sum over the batch and then one slice per offset and axis gives every patch at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from calibrant.algorithms.kernels import kernels
from calibrant.algorithms.order_free_mean import OrderFreeMean

Padding = Literal["SAME", "VALID"] | tuple[int, int]


@dataclass(frozen=True)
class ConvAxis:
    """How a kernel moves along one spatial axis.

    Parameters
    ----------
    size, stride, dilation : int
        Size, stride and dilation of the kernel, at least 1.
    padding : Padding
        ``'SAME'``, ``'VALID'``, or the number of zeros (before, after) the input.
    transposed : bool
        Whether it is a transposed convolution, whose kernel is spread over the outputs, ``stride`` of them apart.
    outputs : int | None
        Number of output positions of a transposed convolution, which its input alone does not determine; None: the
        usual number for ``'SAME'`` or ``'VALID'``.
    """

    size: int
    stride: int = 1
    dilation: int = 1
    padding: Padding = "VALID"
    transposed: bool = False
    outputs: int | None = None

    def positions(self, length: int) -> int:
        """Number of output positions along an input axis of this length."""
        if not self.transposed:
            return self._steps(length)
        if self.outputs is not None:
            return self.outputs
        if self.padding == "SAME":
            return length * self.stride
        before, after = (0, 0) if self.padding == "VALID" else self.padding
        return (length - 1) * self.stride + self._span - before - after

    def visited(self, length: int) -> tuple[slice, ...]:
        """For each kernel offset, the input positions by which it is multiplied, without padding."""
        if self.transposed:
            outputs = self.positions(length)
            before = self._before(outputs, length)
            return tuple(_inside(before - offset, self.stride, outputs, length) for offset in self._offsets())
        count = self._steps(length)
        before = self._before(length, count)
        return tuple(_strided(offset - before, self.stride, count, length) for offset in self._offsets())

    def read(self, values: np.ndarray, axis: int) -> list[np.ndarray]:
        """For each kernel offset, what every output position multiplies by it along an axis; zeros for padding."""
        length = values.shape[axis]
        count = self.positions(length)
        before = self._before(count, length) if self.transposed else self._before(length, count)
        moved = np.moveaxis(values, axis, 0)
        parts = []
        for offset, visited in zip(self._offsets(), self.visited(length), strict=True):
            part = np.zeros((count, *moved.shape[1:]), values.dtype)
            found = moved[visited]
            if self.transposed:
                places = slice(visited.start * self.stride + offset - before, None, self.stride)
            else:
                places = slice((visited.start - offset + before) // self.stride, None)
            part[places][: len(found)] = found
            parts.append(np.moveaxis(part, 0, axis))
        return parts

    @property
    def visits_all_once(self) -> bool:
        """Whether there is one kernel offset, which is multiplied by every input position."""
        return (self.size, self.stride, self.transposed) == (1, 1, False) and self.padding in ("SAME", "VALID", (0, 0))

    def _offsets(self) -> range:
        return range(0, self.size * self.dilation, self.dilation)

    @property
    def _span(self) -> int:
        return (self.size - 1) * self.dilation + 1

    def _steps(self, length: int) -> int:
        if self.padding == "SAME":
            return -(-length // self.stride)
        before, after = (0, 0) if self.padding == "VALID" else self.padding
        return max((length + before + after - self._span) // self.stride + 1, 0)

    def _before(self, length: int, count: int) -> int:
        if self.padding == "SAME":
            return max((count - 1) * self.stride + self._span - length, 0) // 2
        return 0 if self.padding == "VALID" else self.padding[0]


def _strided(first: int, stride: int, count: int, length: int) -> slice:
    """Those of first, first + stride, … (count of them) that lie in 0…length-1."""
    skipped = max(-(first // stride), 0)
    start = first + skipped * stride
    stop = min(first + count * stride - stride + 1, length)
    return slice(start, max(stop, start), stride)


def _inside(first: int, stride: int, outputs: int, length: int) -> slice:
    """The inputs i of 0…length-1 with 0 <= i * stride - first < outputs."""
    start = max(-(-first // stride), 0)
    stop = min((outputs - 1 + first) // stride + 1, length)
    return slice(start, max(stop, start))


@dataclass(frozen=True)
class PatchGeometry:
    """Which axes of a tensor a kernel moves along.

    Parameters
    ----------
    channel_axis : int
        Axis of the input channels; all axes that are neither this one nor spatial count as batch.
    spatial_axes : tuple[int, ...]
        The axes along which the kernel moves; none for a matrix product.
    windows : tuple[ConvAxis, ...]
        How the kernel moves, one per spatial axis.
    """

    channel_axis: int = -1
    spatial_axes: tuple[int, ...] = ()
    windows: tuple[ConvAxis, ...] = ()


class PatchMean:
    """Mean of the input over batch and output positions, for every kernel offset and input channel.

    Memory is kernel size times channels. Batches may come in any order and be spread over any number of instances: the
    merged state is the same, bit for bit.
    """

    __slots__ = ("_mean", "geometry")
    __hash__ = None  # type: ignore[assignment]  # mutable

    def __init__(self, geometry: PatchGeometry):
        self.geometry = geometry
        self._mean = OrderFreeMean()

    @property
    def count(self) -> int:
        """Output positions seen, over all batches."""
        return self._mean.count

    @property
    def kind(self) -> str:
        """What is collected, in words; statistics of one kind can be merged."""
        return f"patch mean of {self.geometry}"

    def update(self, values: np.ndarray) -> None:
        """Add one batch, float32 of any number of axes that has those of the geometry."""
        geometry = self.geometry
        moving = [
            (axis, window)
            for axis, window in zip(geometry.spatial_axes, geometry.windows, strict=True)
            if not window.visits_all_once
        ]
        axes = (*(axis for axis, _ in moving), geometry.channel_axis % values.ndim)
        batch = tuple(axis for axis in range(values.ndim) if axis not in axes)
        count = int(np.prod([values.shape[axis] for axis in batch], dtype=np.int64))
        sums = _sum_over(values, batch)
        if axes != tuple(sorted(axes)):
            sums = np.moveaxis(sums, 0, -1)
        for place, (_, window) in enumerate(moving):
            length = sums.shape[place]
            count *= window.positions(length)
            moved = np.moveaxis(sums, place, 0)
            offsets = [moved[visited].sum(axis=0) for visited in window.visited(length)]
            sums = np.stack(offsets, axis=place)
        sums = sums.reshape(*(window.size for window in geometry.windows), -1)
        self._mean.add(sums, count)

    def merge_from(self, other: PatchMean) -> None:
        """Add the batches that another one has seen.

        Raises
        ------
        ValueError
            Their geometries differ.
        """
        if self.geometry != other.geometry:
            raise ValueError("patches of different layers cannot be merged")
        self._mean.merge_from(other._mean)

    def merge(self, other: PatchMean) -> PatchMean:
        """A new accumulator of the batches of both; raises the same errors as ``merge_from``."""
        result = PatchMean(self.geometry)
        result.merge_from(self)
        result.merge_from(other)
        return result

    def mean(self) -> np.ndarray:
        """float64 (*kernel sizes, input channels).

        Raises
        ------
        ValueError
            No batch has been seen.
        """
        return self._mean.value()

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The state, for storing it; empty before the first batch."""
        return self._mean.to_arrays()

    @classmethod
    def from_arrays(cls, geometry: PatchGeometry, arrays: dict[str, np.ndarray]) -> PatchMean:
        """The accumulator whose state :meth:`to_arrays` gave."""
        result = cls(geometry)
        result.merge_arrays(arrays)
        return result

    def merge_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Add a state from :meth:`to_arrays`."""
        self._mean.merge_arrays(arrays)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PatchMean):
            return NotImplemented
        return self.geometry == other.geometry and self._mean == other._mean


def _sum_over(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """The sum over some axes in float64, one value after the other; the other axes stay in order."""
    others = tuple(axis for axis in range(values.ndim) if axis not in axes)
    shape = tuple(values.shape[axis] for axis in others)
    columns = int(np.prod(shape, dtype=np.int64))
    rows = np.ascontiguousarray(values.transpose(*axes, *others), np.float32).reshape(-1, columns)
    sums = np.zeros(columns)
    kernels().add_rows(rows, sums)
    return sums.reshape(shape)


def mean_of_outputs(patch: np.ndarray, kernel: np.ndarray, depthwise: bool = False) -> np.ndarray:
    """Mean over batch and positions of a layer's outputs without its bias, float64 [output channels].

    Parameters
    ----------
    patch : np.ndarray
        (*kernel sizes, input channels), from :meth:`PatchMean.mean`.
    kernel : np.ndarray
        (*kernel sizes, input channels of one group, output channels); (*kernel sizes, channels, multiplier) for a
        depthwise kernel, whose outputs are counted channel by channel. The number of groups
        is the channels of the patch divided by those of the kernel.
    depthwise : bool
        Whether the kernel is depthwise.
    """
    kernel = np.asarray(kernel, np.float64)
    if depthwise:
        return np.einsum("kc,kcm->cm", _flat(patch, 1), _flat(kernel, 2)).reshape(-1)
    inputs, outputs = kernel.shape[-2:]
    groups = patch.shape[-1] // inputs
    grouped = kernel.reshape(-1, inputs, groups, outputs // groups)
    return np.einsum("kgc,kcgo->go", patch.reshape(-1, groups, inputs), grouped).reshape(-1)


def _flat(array: np.ndarray, kept: int) -> np.ndarray:
    return array.reshape(-1, *array.shape[array.ndim - kept :])

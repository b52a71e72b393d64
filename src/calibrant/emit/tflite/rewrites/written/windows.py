"""Windows of an image, each place of which is a strided slice of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from calibrant.graph.tensorflow import tensorflow

MOST_PLACES = 256
"""Of a window, each of which is a slice."""


@dataclass(frozen=True)
class Axis:
    """How windows lie along one axis of the image."""

    size: int
    window: int
    stride: int
    rate: int
    is_padded: bool

    @property
    def reach(self) -> int:
        return (self.window - 1) * self.rate + 1

    @property
    def count(self) -> int:
        left = self.size if self.is_padded else self.size - self.reach + 1
        return max(-(-left // self.stride), 0)

    @property
    def padding(self) -> tuple[int, int]:
        whole = max((self.count - 1) * self.stride + self.reach - self.size, 0) if self.is_padded else 0
        return whole // 2, whole - whole // 2

    @property
    def are_tiles(self) -> bool:
        """Whether the windows cover the axis without a gap, an overlap or a rest."""
        return self.rate == 1 and self.window == self.stride and self.count * self.window == self.size

    @property
    def places(self) -> list[slice]:
        """For each place in a window, where the windows have it in the padded image."""
        last = (self.count - 1) * self.stride
        return [slice(first, first + last + 1, self.stride) for first in range(0, self.reach, self.rate)]


@dataclass(frozen=True)
class Windows:
    """Those of images of one size."""

    rows: Axis
    columns: Axis

    @property
    def padding(self) -> list[tuple[int, int]]:
        """Of batch, rows, columns and channels."""
        return [(0, 0), self.rows.padding, self.columns.padding, (0, 0)]

    def of(self, images: Any, outside: float = 0.0) -> list[Any]:
        """For each place in a window, what all windows have there, a row of the window after the other."""
        tf = tensorflow()
        padded = tf.pad(images, self.padding, constant_values=outside) if np.any(self.padding) else images
        return self._slices(padded)

    def of_constant(self, images: np.ndarray) -> list[np.ndarray]:
        """The same of numbers, with zeros outside."""
        return self._slices(np.pad(images, self.padding))

    def _slices(self, padded: Any) -> list[Any]:
        return [padded[:, row, column] for row in self.rows.places for column in self.columns.places]


def windows_of(
    images: Any, sizes: Sequence[int], strides: Sequence[int], rates: Sequence[int], is_padded: bool
) -> Windows | None:
    """Windows of images of known size, if there is one and it has not too many places.

    Parameters
    ----------
    images : Any
        A tensor [batch, rows, columns, channels].
    sizes, strides, rates : Sequence[int]
        One number for each of its axes; those of the first and the last are 1.
    is_padded : bool
        Whether there is a window around each place (SAME).
    """
    _, *lengths, channels = images.shape
    ends = [each[axis] for each in (sizes, strides, rates) for axis in (0, 3)]
    if None in (*lengths, channels) or ends != [1] * 6:
        return None
    axes = zip(lengths, sizes[1:3], strides[1:3], rates[1:3], strict=True)
    found = Windows(*(Axis(*each, is_padded) for each in axes))
    places = found.rows.window * found.columns.window
    return found if found.rows.count and found.columns.count and places <= MOST_PLACES else None

"""The largest magnitude and the smallest number of every channel of a tensor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeVar

import numpy as np

from calibrant.algorithms.histogram import NonFiniteError

_E = TypeVar("_E", bound="_ChannelExtreme")


class _ChannelExtreme(ABC):
    """One number for each channel over all batches, whatever their order and grouping.

    Parameters
    ----------
    axis : int
        The axis that numbers the channels, from the front or from the end.
    """

    _name: str
    _both: np.ufunc

    def __init__(self, axis: int = -1):
        self.axis = axis
        self._found: np.ndarray | None = None

    @staticmethod
    @abstractmethod
    def _over(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        """The extremes of some values over all axes but that of the channels."""

    @property
    def kind(self) -> str:
        """What is collected, in words; statistics of one kind can be merged."""
        return f"channel {self._name} on axis {self.axis}"

    def update(self, array: np.ndarray) -> None:
        """Add all values of a float32 array that has the axis.

        Raises
        ------
        NonFiniteError
            There are NaN or infinite values; nothing is added.
        ValueError
            The number of channels differs from before, or there is no such axis.
        """
        values = np.asarray(array, np.float32)
        if not -values.ndim <= self.axis < values.ndim:
            raise ValueError(f"an array of shape {values.shape} has no axis {self.axis}")
        if not values.size:
            return
        channel = self.axis % values.ndim
        found = self._over(values, tuple(axis for axis in range(values.ndim) if axis != channel))
        if not np.isfinite(found).all():
            nan_count = int(np.isnan(values).sum())
            raise NonFiniteError(nan_count, int(np.isinf(values).sum()))
        self._add(found)

    def merge_from(self: _E, other: _E) -> None:
        """Add the values that another one has seen.

        Raises
        ------
        ValueError
            Their axes or numbers of channels differ.
        """
        if self.axis != other.axis:
            raise ValueError(f"channels on axis {self.axis} and on axis {other.axis} cannot be merged")
        if other._found is not None:
            self._add(other._found)

    def merge(self: _E, other: _E) -> _E:
        """A new statistic of the values of both; raises the same errors as ``merge_from``."""
        merged = type(self)(self.axis)
        merged.merge_from(self)
        merged.merge_from(other)
        return merged

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The state, for storing it; empty before the first batch."""
        return {} if self._found is None else {self._name: self._found}

    def merge_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Add a state from ``to_arrays``; raises ValueError for one of other channels, or that is none."""
        if arrays:
            found = np.asarray(arrays[self._name], np.float32)
            if found.ndim != 1 or not np.isfinite(found).all():
                raise ValueError(f"the {self._name} of a channel is no finite number")
            self._add(found)

    @property
    def is_empty(self) -> bool:
        """Whether no value was seen."""
        return self._found is None

    def _required(self) -> np.ndarray:
        if self._found is None:
            raise ValueError("the statistic has seen no values")
        return self._found

    def _add(self, found: np.ndarray) -> None:
        if self._found is None:
            self._found = found
        elif found.shape != self._found.shape:
            raise ValueError(f"{found.size} channels after {self._found.size}")
        else:
            self._found = self._both(self._found, found)


class ChannelMaximum(_ChannelExtreme):
    """max|x| of each channel, which the balancer needs of an activation."""

    _name = "maximum"
    _both = np.maximum

    @staticmethod
    def _over(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return np.maximum(values.max(axis=axes), -values.min(axis=axes))

    @property
    def maximum(self) -> np.ndarray:
        """float32, (channels,). ValueError if no value was seen."""
        return self._required()


class ChannelMinimum(_ChannelExtreme):
    """min(x) of each channel, from which follows what a correction of its bias leaves positive."""

    _name = "minimum"
    _both = np.minimum

    @staticmethod
    def _over(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        found: np.ndarray = values.min(axis=axes)
        return found

    @property
    def minimum(self) -> np.ndarray:
        """float32, (channels,). ValueError if no value was seen."""
        return self._required()

"""The largest magnitude of every channel, the statistic that the balancer needs of an activation."""

from __future__ import annotations

import numpy as np

from calibrant.algorithms.histogram import NonFiniteError


class ChannelMaximum:
    """max|x| of each channel over all batches, whatever their order and grouping.

    Parameters
    ----------
    axis : int
        The axis that numbers the channels, from the front or from the end.
    """

    def __init__(self, axis: int = -1):
        self.axis = axis
        self._maximum: np.ndarray | None = None

    @property
    def kind(self) -> str:
        """What is collected, in words; statistics of one kind can be merged."""
        return f"channel maximum on axis {self.axis}"

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
        others = tuple(axis for axis in range(values.ndim) if axis != channel)
        maximum = np.maximum(values.max(axis=others), -values.min(axis=others))
        if not np.isfinite(maximum).all():
            nan_count = int(np.isnan(values).sum())
            raise NonFiniteError(nan_count, int(np.isinf(values).sum()))
        self._add(maximum)

    def merge_from(self, other: ChannelMaximum) -> None:
        """Add the values that another one has seen.

        Raises
        ------
        ValueError
            Their axes or numbers of channels differ.
        """
        if self.axis != other.axis:
            raise ValueError(f"channels on axis {self.axis} and on axis {other.axis} cannot be merged")
        if other._maximum is not None:
            self._add(other._maximum)

    def merge(self, other: ChannelMaximum) -> ChannelMaximum:
        """A new statistic of the values of both; raises the same errors as ``merge_from``."""
        merged = ChannelMaximum(self.axis)
        merged.merge_from(self)
        merged.merge_from(other)
        return merged

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The state, for storing it; empty before the first batch."""
        return {} if self._maximum is None else {"maximum": self._maximum}

    def merge_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Add a state from ``to_arrays``; raises ValueError for one of other channels."""
        if arrays:
            self._add(np.asarray(arrays["maximum"], np.float32))

    @property
    def is_empty(self) -> bool:
        """Whether no value was seen."""
        return self._maximum is None

    @property
    def maximum(self) -> np.ndarray:
        """float32, (channels,). ValueError if no value was seen."""
        if self._maximum is None:
            raise ValueError("the statistic has seen no values")
        return self._maximum

    def _add(self, maximum: np.ndarray) -> None:
        if self._maximum is None:
            self._maximum = maximum
        elif maximum.shape != self._maximum.shape:
            raise ValueError(f"{maximum.size} channels after {self._maximum.size}")
        else:
            self._maximum = np.maximum(self._maximum, maximum)

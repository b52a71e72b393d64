"""The largest magnitude of every channel: what the balancer has to know about an activation."""

from __future__ import annotations

import numpy as np

from calibrant.algorithms.histogram import NonFiniteError


class ChannelMaximum:
    """max|x| of each channel over everything seen; order and grouping of the batches do not matter.

    Parameters
    ----------
    axis : the axis that numbers the channels, from the front or from the end.
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
        NonFiniteError : if there are NaN or infinite values; nothing is added then.
        ValueError : another number of channels than before, or no such axis.
        """
        values = np.asarray(array, np.float32)
        if not -values.ndim <= self.axis < values.ndim:
            raise ValueError(f"an array of shape {values.shape} has no axis {self.axis}")
        if not values.size:
            return
        channel = self.axis % values.ndim
        others = tuple(axis for axis in range(values.ndim) if axis != channel)
        found = np.maximum(values.max(axis=others), -values.min(axis=others))
        if not np.isfinite(found).all():
            nan_count = int(np.isnan(values).sum())
            raise NonFiniteError(nan_count, int(np.isinf(values).sum()))
        self._take(found)

    def merge_from(self, other: ChannelMaximum) -> None:
        """Take in the values that another has seen.

        Raises
        ------
        ValueError : their axes or numbers of channels differ.
        """
        if self.axis != other.axis:
            raise ValueError(f"channels on axis {self.axis} and on axis {other.axis} cannot be merged")
        if other._maximum is not None:
            self._take(other._maximum)

    def merge(self, other: ChannelMaximum) -> ChannelMaximum:
        """A new statistic: the one that would have seen the values of both; raises what `absorb` raises."""
        merged = ChannelMaximum(self.axis)
        merged.merge_from(self)
        merged.merge_from(other)
        return merged

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The state, for storing it; empty before the first batch."""
        return {} if self._maximum is None else {"maximum": self._maximum}

    def merge_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Take in a state that `to_arrays` gave. ValueError if it is of other channels."""
        if arrays:
            self._take(np.asarray(arrays["maximum"], np.float32))

    @property
    def maximum(self) -> np.ndarray:
        """float32, (channels,). ValueError if no value was seen."""
        if self._maximum is None:
            raise ValueError("the statistic has seen no values")
        return self._maximum

    def _take(self, found: np.ndarray) -> None:
        if self._maximum is None:
            self._maximum = found
        elif found.shape != self._maximum.shape:
            raise ValueError(f"{found.size} channels after {self._maximum.size}")
        else:
            self._maximum = np.maximum(self._maximum, found)

"""The channel axis of a tensor, and constants with one value per channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibrant.graph.nodes import Shape

CHANNELS_LAST = frozenset({"NHWC", "NDHWC"})
CHANNELS_FIRST = frozenset({"NCHW", "NCDHW"})


@dataclass(frozen=True)
class Layout:
    """The channels of a tensor.

    Parameters
    ----------
    rank : int | None
        Number of axes; None if unknown, and then at least 2.
    axis : int
        The axis of the channels, counted from the end: -1 for channels last, 1 - rank for channels first.
    channels : int
        Number of channels.
    split : Shape
        Sizes of the last axes, if the channels are spread over several; ``axis`` is -1 then.
    """

    rank: int | None
    axis: int
    channels: int
    split: Shape = ()

    @property
    def bias_format(self) -> str:
        """The ``data_format`` with which BiasAdd works on this axis, for any number of axes."""
        return "NHWC" if self.axis == -1 else "NCHW"

    def agrees(self, data_format: str | None) -> bool:
        """Whether an operation of this data format has its channels on the same axis; the default is channels last."""
        if self.split:
            return False
        if data_format is None or data_format in CHANNELS_LAST:
            return self.axis == -1
        return data_format in CHANNELS_FIRST and self.rank is not None and self.axis == 1 - self.rank

    def per_channel(self, constant: np.ndarray) -> np.ndarray | None:
        """The constant as float64 [channels], if broadcasting gives every channel one value; else None."""
        if constant.ndim > (2 if self.rank is None else self.rank) or constant.dtype.kind != "f":
            return None
        if constant.size == 1:
            return np.full(self.channels, constant.item(), np.float64)
        if self.split:
            return self._per_split_channel(constant)
        if constant.size != self.channels or constant.ndim < -self.axis or constant.shape[self.axis] != self.channels:
            return None
        return constant.reshape(-1).astype(np.float64)

    def _per_split_channel(self, constant: np.ndarray) -> np.ndarray | None:
        """One value for each channel if the constant broadcasts against the axes of the channels."""
        if constant.size != np.prod(constant.shape[-len(self.split) :], dtype=int):
            return None
        own = constant.reshape(constant.shape[-len(self.split) :])
        try:
            return np.broadcast_to(own, self.split).reshape(-1).astype(np.float64)
        except ValueError:
            return None


def layout_for(data_format: str | None, rank: int, channels: int) -> Layout | None:
    """The layout of a convolution's output; None for formats that are neither channels last nor channels first."""
    if data_format is None or data_format in CHANNELS_LAST:
        return Layout(rank, -1, channels)
    return Layout(rank, 1 - rank, channels) if data_format in CHANNELS_FIRST else None

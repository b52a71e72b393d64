"""ARQ: uniform quantization of weights, symmetric, per tensor or per channel.

References
----------
R. Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference", 2018, sections 2.2 and 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibrant.algorithms.arithmetic import qparams_from_ranges

_ROWS_AT_A_TIME = 1 << 18


@dataclass(frozen=True, eq=False)
class QuantizedWeights:
    """Integer weights and their scales; the offset is always 0.

    Parameters
    ----------
    values : np.ndarray
        The integers, int8, in the shape of the float weights.
    scale : np.ndarray
        The scales, float32, of shape (1,) per tensor or (channels,) per channel.
    channel_axes : tuple[int, ...]
        The axes of ``values`` that number the channels, ascending; () per tensor. With several axes the channels are
        counted in C order: (2, 3) for depthwise weights HWIM gives I * M channels.
    bits : int
        Width of the integer range, -2^(bits-1) … 2^(bits-1)-1.
    levels : tuple[int, ...] | None
        The integers that occur, ascending, if only a few are allowed (NUQ); None if all are.
    """

    values: np.ndarray
    scale: np.ndarray
    channel_axes: tuple[int, ...]
    bits: int
    levels: tuple[int, ...] | None = None

    def scale_broadcast(self) -> np.ndarray:
        """The scale reshaped to broadcast against ``values``: as many axes, of length 1 where it is constant."""
        return self.scale.reshape(broadcast_shape(self.values.shape, self.channel_axes))

    def dequantize(self) -> np.ndarray:
        """The weights as float32: values * scale, in float32."""
        return self.values.astype(np.float32) * self.scale_broadcast()

    def squared_error(self, weights: np.ndarray) -> float:
        """Sum over all weights of (weight - value * scale)^2 in float64, the product not rounded to float32."""
        return float(self.squared_error_per_channel(weights).sum())

    def squared_error_per_channel(self, weights: np.ndarray) -> np.ndarray:
        """The same sum for each channel, float64 of the shape of ``scale``."""
        if weights.shape != self.values.shape:
            raise ValueError(f"weights of shape {weights.shape} against quantized ones of {self.values.shape}")
        floats = channels_last(weights, self.channel_axes)
        integers = channels_last(self.values, self.channel_axes)
        scale = self.scale.astype(np.float64)
        total = np.zeros(self.scale.shape)
        for start in range(0, floats.shape[0], _ROWS_AT_A_TIME // scale.size + 1):
            rows = slice(start, start + _ROWS_AT_A_TIME // scale.size + 1)
            difference = floats[rows] - integers[rows] * scale
            total += np.einsum("rc,rc->c", difference, difference)
        return total


def broadcast_shape(shape: tuple[int, ...], channel_axes: tuple[int, ...]) -> tuple[int, ...]:
    """``shape`` with 1 on every axis that does not number channels."""
    return tuple(length if axis in channel_axes else 1 for axis, length in enumerate(shape))


def channels_last(weights: np.ndarray, channel_axes: tuple[int, ...]) -> np.ndarray:
    """The weights as (weights of one channel, channels); a view if the channel axes are the last ones."""
    last_axes = range(weights.ndim - len(channel_axes), weights.ndim)
    channels = int(np.prod([weights.shape[axis] for axis in channel_axes], dtype=np.int64))
    return np.moveaxis(weights, channel_axes, last_axes).reshape(-1, channels)


def checked_axes(weights: np.ndarray, channel_axes: tuple[int, ...]) -> tuple[int, ...]:
    """The channel axes counted from the front and ascending.

    Raises
    ------
    ValueError
        The weights do not have an axis, an axis is named twice, or the weights have no elements.
    """
    if weights.size == 0:
        raise ValueError(f"weights of shape {weights.shape} have no elements")
    axes = tuple(sorted(axis + weights.ndim if axis < 0 else axis for axis in channel_axes))
    if len(set(axes)) < len(axes) or any(not 0 <= axis < weights.ndim for axis in axes):
        raise ValueError(f"channel axes {tuple(channel_axes)} do not fit weights of shape {weights.shape}")
    return axes


def quantize_weights(weights: np.ndarray, bits: int = 8, channel_axes: tuple[int, ...] = ()) -> QuantizedWeights:
    """Quantize weights uniformly; the range is their minimum and maximum.

    Parameters
    ----------
    weights : np.ndarray
        Float array of any shape.
    bits : int
        Width of the integers, 2 … 8; always stored as int8. A configuration allows 6, 7 and 8.
    channel_axes : tuple[int, ...]
        Axes that number the channels, each of which gets its own scale; () for one scale.

    Returns
    -------
    QuantizedWeights
        Its values are clip(rint(weights * float32(1 / scale))). A channel of zeros, for which any scale is right, has
        the largest scale of the other channels, so that its bias is resolved as finely as theirs; all scales are 1 if
        all weights are zero.

    Raises
    ------
    ValueError
        Weights are NaN or infinite, there are no weights, axes do not exist, or bits are out of range.

    Examples
    --------
    >>> quantized = quantize_weights(np.array([[1.0, -3.0], [0.5, 1.5]], np.float32), channel_axes=(1,))
    >>> quantized.values.tolist()
    [[127, -128], [64, 64]]
    """
    if not 2 <= bits <= 8:
        raise ValueError(f"{bits} bits; allowed are 2 to 8")
    axes = checked_axes(weights, channel_axes)
    floats = np.asarray(weights, np.float32)
    others = tuple(axis for axis in range(floats.ndim) if axis not in axes)
    lowest = floats.min(axis=others).reshape(-1)
    highest = floats.max(axis=others).reshape(-1)
    if not (np.isfinite(lowest).all() and np.isfinite(highest).all()):
        raise ValueError("weights contain NaN or infinity")
    scale, _ = qparams_from_ranges(lowest, highest, bits, asymmetric=False)
    zero = (lowest == 0) & (highest == 0)
    if zero.any() and not zero.all():
        scale[zero] = scale[~zero].max()
    inverse = (np.float32(1) / scale).reshape(broadcast_shape(floats.shape, axes))
    codes = floats * inverse
    np.rint(codes, out=codes)
    half = 1 << (bits - 1)
    np.clip(codes, -half, half - 1, out=codes)
    return QuantizedWeights(codes.astype(np.int8), scale, axes, bits)

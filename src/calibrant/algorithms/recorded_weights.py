"""Quantizes weights with a given scale."""

from __future__ import annotations

import numpy as np

from calibrant.algorithms.arq import QuantizedWeights, broadcast_shape, quantize_weights

_LAST_BITS = 4 * np.finfo(np.float32).eps


def weights_with_scale(
    weights: np.ndarray,
    scale: np.ndarray,
    channel_axes: tuple[int, ...] = (),
    bits: int = 8,
    levels: tuple[int, ...] = (),
) -> QuantizedWeights:
    """Quantize weights with a given scale.

    A scale that is ARQ's own up to its last bits gives the integers of ARQ: the scale may have been moved to a float32
    that the deployable file can hold, and a weight half-way between two levels must not move with it.

    Parameters
    ----------
    weights : np.ndarray
        Finite weights, float32 of any shape.
    scale : np.ndarray
        The scales, float32 (1,) or (channels,).
    channel_axes : tuple[int, ...]
        Axes that number the channels; () for one scale.
    bits : int
        Width of the integers, 2 … 8.
    levels : tuple[int, ...]
        The allowed integers (NUQ), ascending; () for all. A weight takes the nearest, half-way the upper.

    Returns
    -------
    QuantizedWeights
        The weights, with exactly this scale.
    """
    half = 1 << (bits - 1)
    if levels:
        position = weights.astype(np.float64) / scale.reshape(broadcast_shape(weights.shape, channel_axes))
        allowed = np.array(levels)
        codes = allowed[np.searchsorted((allowed[1:] + allowed[:-1]) / 2, position, side="right")]
        return QuantizedWeights(codes.astype(np.int8), scale, channel_axes, bits, tuple(levels))
    own = quantize_weights(weights, bits, channel_axes)
    if np.all(np.abs(own.scale - scale) <= _LAST_BITS * scale):
        return QuantizedWeights(own.values, scale, channel_axes, bits)
    inverse = (np.float32(1) / scale).reshape(broadcast_shape(weights.shape, channel_axes))
    with np.errstate(over="ignore"):
        codes = np.clip(np.rint(weights * inverse), -half, half - 1)
    return QuantizedWeights(codes.astype(np.int8), scale, channel_axes, bits)

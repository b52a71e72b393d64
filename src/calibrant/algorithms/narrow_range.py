"""Weights in -127 … 127, for kernels that do not accept -128.

Kernels that add the products of two int8 pairs in 16 bits would overflow at twice (-128)·(-128); LiteRT's specification
therefore excludes -128 from weights.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from calibrant.algorithms.arq import QuantizedWeights, broadcast_shape

LOWEST = -127


def in_narrow_range(weights: QuantizedWeights, floats: np.ndarray) -> QuantizedWeights:
    """The same weights in -127 … 127; ``weights`` itself if they already are.

    A channel in which -128 occurs is quantized again, with its scale |lowest| / 127 instead of |lowest| / 128. If only
    some levels are allowed, the level -128 becomes -127, and the scales stay.

    Parameters
    ----------
    weights : QuantizedWeights
        Quantized weights of at most 8 bits.
    floats : np.ndarray
        The weights that were quantized, of the same shape.
    """
    if weights.values.min() >= LOWEST:
        return weights
    if weights.levels is not None:
        levels = tuple(sorted({max(level, LOWEST) for level in weights.levels}))
        return replace(weights, values=np.maximum(weights.values, np.int8(LOWEST)), levels=levels)
    others = tuple(axis for axis in range(weights.values.ndim) if axis not in weights.channel_axes)
    reaches = weights.values.min(axis=others).reshape(-1) < LOWEST
    lowest = floats.min(axis=others).reshape(-1).astype(np.float32)
    scale = np.where(reaches, lowest / np.float32(LOWEST), weights.scale).astype(np.float32)
    inverse = (np.float32(1) / scale).reshape(broadcast_shape(floats.shape, weights.channel_axes))
    codes = np.clip(np.rint(floats.astype(np.float32) * inverse), LOWEST, -LOWEST).astype(np.int8)
    kept = ~reaches.reshape(broadcast_shape(floats.shape, weights.channel_axes))
    return replace(weights, values=np.where(kept, weights.values, codes), scale=scale)

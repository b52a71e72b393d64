"""Integer operators whose kernels compute with fixed-point fractions alone, exactly.

References
----------
XNNPACK: s8-ibilinear. LiteRT's own kernels: MultiplyByQuantizedMultiplier.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from calibrant.emit.tflite.file_parts import Operator, Tensor
from calibrant.emit.tflite.simulation.codes import clipped
from calibrant.graph.tensorflow import tensorflow

FRACTION_BITS = 11
PLACE_BITS = 10
MULTIPLIER_BITS = 31
VECTOR = 8


def bilinear(codes: Any, o: Operator, sizes: np.ndarray) -> Any:
    """RESIZE_BILINEAR: shares of neighbours in 1/2048, one rounding at the end, halves up.

    Parameters
    ----------
    codes : Any
        Codes less the code of zero, float32 tf.Tensor [batch, height, width, channels].
    sizes : np.ndarray
        Height and width of the result.

    Returns
    -------
    tf.Tensor
        Codes less the code of zero, float32.
    """
    tf = tensorflow()
    made = tf.cast(codes, tf.float64)
    for axis, size in ((2, int(sizes[1])), (1, int(sizes[0]))):
        made = _between(made, axis, *_neighbours(tf.shape(codes)[axis], size, o), FRACTION_BITS)
    return tf.cast(tf.floor(made * 2.0 ** (-2 * FRACTION_BITS) + 0.5), tf.float32)


def bilinear_to(codes: Any, o: Operator, sizes: Any) -> Any:
    """RESIZE_BILINEAR to a size that is computed, by LiteRT's own kernel: places in 1/1024, halves away from zero.

    Parameters
    ----------
    codes : Any
        Codes less the code of zero, float32 tf.Tensor [batch, height, width, channels].
    sizes : Any
        Height and width of the result, int32 tf.Tensor.

    Returns
    -------
    tf.Tensor
        Codes less the code of zero, float32.
    """
    tf = tensorflow()
    zero = o.outputs[0].zero_point
    made = tf.cast(codes, tf.float64) + zero
    for axis in (2, 1):
        wanted = tf.cast(sizes[axis - 1], tf.int32)
        made = _between(made, axis, *_places(tf.shape(codes)[axis], wanted, o), PLACE_BITS)
    whole = tf.cast(made, tf.int64)
    half = tf.where(whole > 0, np.int64(1), np.int64(-1)) * np.int64(1 << (2 * PLACE_BITS - 1))
    return tf.cast(tf.truncatediv(whole + half, np.int64(1 << 2 * PLACE_BITS)) - zero, tf.float32)


def _between(values: Any, axis: int, first: Any, second: Any, share: Any, bits: int) -> Any:
    """What lies between two places of an axis, times 2^bits; the second one's share is in units of 2^-bits."""
    tf = tensorflow()
    share = tf.cast(tf.reshape(share, [-1, *[1] * (3 - axis)]), tf.float64)
    near, far = (tf.gather(values, places, axis=axis) for places in (first, second))
    return near * (2.0**bits - share) + far * share


def _places(size: Any, made: Any, o: Operator) -> tuple[Any, Any, Any]:
    """For each place of the result the two that it is between, and the second one's share in 1/1024."""
    tf = tensorflow()
    one = 1 << PLACE_BITS
    step = (one * size + made // 2) // made
    if o.options.alignCorners:
        step = tf.where(made > 1, (one * (size - 1) + (made - 1) // 2) // tf.maximum(made - 1, 1), step)
    at = tf.range(made) * step
    if o.options.halfPixelCenters:
        at += step // 2 - one // 2
    first = tf.maximum(at // one, 0)
    return first, tf.minimum(-(-at // one), size - 1), at - one * first


def _neighbours(size: Any, made: int, o: Operator) -> tuple[Any, Any, Any]:
    """For each place of the result the two that it is between, and the second one's share in 1/2048."""
    tf = tensorflow()
    last = tf.cast(size - 1, tf.float32)
    whole = o.options.alignCorners and made > 1
    step = last / np.float32(made - 1) if whole else tf.cast(size, tf.float32) / np.float32(made)
    places = np.arange(made, dtype=np.float32) * step
    if o.options.halfPixelCenters:
        places = tf.clip_by_value(places + (np.float32(0.5) * step - np.float32(0.5)), np.float32(0), last)
    first = tf.minimum(tf.cast(places, tf.int32), size - 1)
    share = tf.round((places - tf.cast(first, tf.float32)) * np.float32(2**FRACTION_BITS))
    return first, tf.minimum(first + 1, size - 1), share


def multiplied(total: Any, read: Tensor, weights: Tensor, made: Tensor, limits: tuple[float, float]) -> Any:
    """Sums times a fraction of 31 bits, as LiteRT's own kernels do it: rounded twice.

    The second time, whole vectors of channels round halves up, the channels left over away from zero.

    Parameters
    ----------
    total : Any
        Whole numbers within int32, tf.Tensor, channels last.
    limits : tuple[float, float]
        Of the codes.

    Returns
    -------
    tf.Tensor
        Codes less the code of zero, float32.
    """
    tf = tensorflow()
    real = np.float64(read.scale[0]) * weights.scale.astype(np.float64) / np.float64(made.scale[0])
    fractions, exponents = zip(*(fixed_point(float(each)) for each in real), strict=True)
    left, right = (np.maximum(np.array(exponents) * sign, 0).astype(np.int64) for sign in (1, -1))
    half = np.where(right > 0, np.int64(1) << np.maximum(right - 1, 0), 0)
    product = tf.cast(total, tf.int64) * (np.int64(1) << left) * np.array(fractions, np.int64)
    nudge = np.int64(1) << (MULTIPLIER_BITS - 1)
    high = tf.truncatediv(product + tf.where(product >= 0, nudge, 1 - nudge), np.int64(1) << MULTIPLIER_BITS)
    up = tf.bitwise.right_shift(high + half, right)
    away = tf.truncatediv(high + tf.sign(high) * half, np.int64(1) << right)
    channels = weights.shape[0]
    in_vectors = np.arange(channels) < channels - channels % VECTOR
    return clipped(tf.cast(tf.where(in_vectors, up, away), tf.float32), limits)


def fixed_point(real: float) -> tuple[int, int]:
    """A number as (fraction of 31 bits, exponent)."""
    fraction, exponent = math.frexp(real)
    whole = math.floor(fraction * 2**MULTIPLIER_BITS + 0.5)
    return (whole // 2, exponent + 1) if whole == 2**MULTIPLIER_BITS else (whole, exponent)

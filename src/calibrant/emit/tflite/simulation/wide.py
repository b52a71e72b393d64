"""Layers of 16 bits in a simulation: whole sums, multiplied once, as LiteRT's own kernels do it on every processor.

References
----------
LiteRT: MultiplyByQuantizedMultiplier of 64-bit sums, and its FULLY_CONNECTED of 16 bits. The formulas were checked
against the kernels with random sums; the tests do the same with fewer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from calibrant.emit.tflite.file_parts import Tensor
from calibrant.emit.tflite.simulation.codes import clipped
from calibrant.emit.tflite.simulation.fixed_point import MULTIPLIER_BITS, fixed_point
from calibrant.graph.tensorflow import tensorflow

FRACTION_BITS = 15
LARGEST_FRACTION = 2**FRACTION_BITS - 1


def multiplied_wide(total: Any, read: Tensor, weights: Tensor, made: Tensor, limits: tuple[float, float]) -> Any:
    """Sums times a fraction of 15 bits, halves rounded up: convolutions.

    Parameters
    ----------
    total : Any
        Whole numbers below 2^47, float64 tf.Tensor, channels last.
    limits : tuple[float, float]
        Of the codes.

    Returns
    -------
    tf.Tensor
        Codes, float32; the code of zero is 0.
    """
    tf = tensorflow()
    fractions, exponents = zip(*(fixed_point(float(each)) for each in _factors(read, weights, made)), strict=True)
    half = 1 << (MULTIPLIER_BITS - FRACTION_BITS - 1)
    short = [min((each + half) >> (MULTIPLIER_BITS - FRACTION_BITS), LARGEST_FRACTION) for each in fractions]
    shift = np.array([FRACTION_BITS - each for each in exponents], np.int64)
    product = tf.cast(total, tf.int64) * np.array(short, np.int64) + (np.int64(1) << (shift - 1))
    return clipped(tf.cast(tf.bitwise.right_shift(product, shift), tf.float32), limits)


def rounded_wide(total: Any, read: Tensor, weights: Tensor, made: Tensor, limits: tuple[float, float]) -> Any:
    """Sums times one float64, halves rounded away from zero: dense layers.

    Parameters
    ----------
    total : Any
        Whole numbers, float64 tf.Tensor, channels last.
    limits : tuple[float, float]
        Of the codes.

    Returns
    -------
    tf.Tensor
        Codes, float32; the code of zero is 0.
    """
    tf = tensorflow()
    product = total * tf.constant(_factors(read, weights, made))
    return clipped(tf.cast(tf.sign(product) * tf.floor(tf.abs(product) + np.float64(0.5)), tf.float32), limits)


def _factors(read: Tensor, weights: Tensor, made: Tensor) -> np.ndarray:
    return np.float64(read.scale[0]) * weights.scale.astype(np.float64) / np.float64(made.scale[0])

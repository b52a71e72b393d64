"""Rounding to codes in a simulation. Codes are float32, the code of zero already subtracted."""

from __future__ import annotations

from typing import Any

import numpy as np

from calibrant.emit.tflite.file_parts import Operator, Tensor
from calibrant.graph.tensorflow import tensorflow


def hidden(value: Any, name: str) -> Any:
    """A constant that TensorFlow's optimizer does not see: it would multiply it into weights or other constants."""
    tf = tensorflow()
    values = np.asarray(value, np.float32)
    return tf.compat.v1.placeholder_with_default(tf.constant(values, name=f"{name}/value"), values.shape, name=name)


def ends(tensor: Tensor) -> tuple[float, float]:
    """The lowest and the highest code."""
    limits = np.iinfo(tensor.dtype)
    return float(limits.min - tensor.zero_point), float(limits.max - tensor.zero_point)


def round_real(value: Any, tensor: Tensor) -> Any:
    """The codes of real numbers: to nearest even. What is no number has the code of zero.

    Kernels make the highest, the lowest or that code of it, each processor another.
    """
    tf = tensorflow()
    numbers = tf.where(tf.math.is_nan(value), tf.zeros_like(value), value)
    return round_product(numbers, np.float32(1) / tensor.scale[0], ends(tensor))


def round_product(value: Any, factor: Any, limits: tuple[float, float]) -> Any:
    """``value * factor`` rounded to nearest even, within limits. The product is one that is left alone."""
    tf = tensorflow()
    rounded = tf.round(tf.math.multiply_no_nan(value, hidden(factor, "multiplier")))
    return clipped(rounded, limits)


def clipped(value: Any, limits: tuple[float, float]) -> Any:
    """Codes within limits, by a single operation."""
    low, high = (np.float32(limit) for limit in limits)
    return tensorflow().raw_ops.ClipByValue(t=value, clip_value_min=low, clip_value_max=high)


def activation_ends(operator: Operator, made: Tensor) -> tuple[float, float]:
    """The limits of an operator's codes: those of the type, and of the activation that is fused into it."""
    low, high = ends(made)
    kind = getattr(operator.options, "fusedActivationFunction", 0)
    scale = made.scale[0]
    if kind in (RELU, RELU6):
        low = max(low, 0.0)
    if kind == RELU6:
        high = min(high, float(np.rint(np.float32(6) / scale)))
    if kind == RELU_N1_TO_1:
        low, high = max(low, float(np.rint(np.float32(-1) / scale))), min(high, float(np.rint(np.float32(1) / scale)))
    return low, high


RELU, RELU_N1_TO_1, RELU6, TANH = 1, 2, 3, 4


def away_from_zero(value: Any, half: float = 0.5) -> Any:
    """The nearest whole number; ``half`` is what a fraction needs to be rounded away from zero, less 1."""
    tf = tensorflow()
    size = tf.cast(tf.abs(value), tf.float64)
    return tf.sign(value) * tf.cast(tf.floor(size + tf.constant(half, tf.float64)), tf.float32)


def real_values(tensor: Tensor, values: np.ndarray) -> np.ndarray:
    """The float32 numbers that a tensor's values stand for."""
    if not tensor.scale.size:
        return values
    return ((values.astype(np.float32) - np.float32(tensor.zero_point)) * tensor.scale[0]).astype(np.float32)


def quantized(tensor: Tensor, values: np.ndarray) -> np.ndarray:
    """Values in a tensor's own type: codes where it is int8."""
    if tensor.dtype != np.int8 or not tensor.scale.size:
        return np.asarray(values, tensor.dtype, order="C")
    codes = np.rint(values.astype(np.float32) * (np.float32(1) / tensor.scale[0])) + tensor.zero_point
    return np.clip(codes, -128, 127).astype(np.int8)

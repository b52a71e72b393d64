"""Layers of a simulation: sums of codes, multiplied once.

A kernel adds products of codes and the bias as integers, and multiplies the sum by one float32 per channel. The sum of
dequantized values is the same number, but float32 rounds it on the way, and now and then that decides a code. Here the
codes are held in float32 where no sum can reach 2^24, so that float32 holds every partial sum exactly in any order, and
in float64 elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from calibrant.emit.tflite.file_parts import Operator, Tensor
from calibrant.emit.tflite.simulation.codes import activation_ends, round_product
from calibrant.emit.tflite.simulation.fixed_point import multiplied
from calibrant.emit.tflite.simulation.float_layers import dilations, same_padding, strides
from calibrant.emit.tflite.simulation.wide import multiplied_wide, rounded_wide
from calibrant.graph.tensorflow import tensorflow

EXACT_IN_FLOAT32 = 2**24


def conv(s: Any, o: Operator) -> Any:
    """CONV_2D, grouped ones too."""
    tf = tensorflow()

    def product(codes: Any, weights: np.ndarray) -> Any:
        filters = _numbers(np.moveaxis(weights, 0, 3), codes)
        return tf.nn.conv2d(codes, filters, strides(o.options), same_padding(o.options), dilations=dilations(o.options))

    return _layer(s, o, 0, o.read(1), 0, product)


def depthwise(s: Any, o: Operator) -> Any:
    """DEPTHWISE_CONV_2D."""
    tf = tensorflow()
    channels = o.read(0).shape[3]

    def product(codes: Any, weights: np.ndarray) -> Any:
        filters = _numbers(weights.reshape(*weights.shape[1:3], channels, -1), codes)
        steps = [1, *strides(o.options), 1]
        return tf.nn.depthwise_conv2d(codes, filters, steps, same_padding(o.options), dilations=dilations(o.options))

    return _layer(s, o, 0, o.read(1), 3, product)


def transpose_conv(s: Any, o: Operator) -> Any:
    """TRANSPOSE_CONV."""
    tf = tensorflow()

    def product(codes: Any, weights: np.ndarray) -> Any:
        filters = _numbers(np.moveaxis(weights, 0, 2), codes)
        return tf.nn.conv2d_transpose(codes, filters, s.real(o.read(0)), strides(o.options), same_padding(o.options))

    # A shape that is computed as well is not known before the file runs: then XNNPACK does not take the operator.
    return _layer(s, o, 2, o.read(1), 0, product, own_kernel=o.read(0).values is None)


def fully_connected(s: Any, o: Operator) -> Any:
    """FULLY_CONNECTED."""
    tf = tensorflow()

    def product(codes: Any, weights: np.ndarray) -> Any:
        if not o.options.keepNumDims:
            codes = tf.reshape(codes, [-1, weights.shape[1]])
        return _last_axis(codes, _numbers(np.ascontiguousarray(weights.T), codes))

    return _layer(s, o, 0, o.read(1), 0, product, wide=rounded_wide)


def _last_axis(codes: Any, weights: Any) -> Any:
    tf = tensorflow()
    return tf.matmul(codes, weights) if codes.shape.rank == 2 else tf.tensordot(codes, weights, 1)


def batch_matmul(s: Any, o: Operator) -> Any:
    """BATCH_MATMUL of two activations."""
    tf = tensorflow()
    first, second, made = o.read(0), o.read(1), o.outputs[0]
    terms = first.signature[-2 if o.options.adjX else -1]
    exact = terms is not None and terms * _reach(first) * _reach(second) < EXACT_IN_FLOAT32
    read = [s.codes(tensor) for tensor in (first, second)]
    if not exact:
        read = [tf.cast(codes, tf.float64) for codes in read]
    total = tf.linalg.matmul(*read, transpose_a=bool(o.options.adjX), transpose_b=bool(o.options.adjY))
    factor = np.float32(np.float32(first.scale[0] * second.scale[0]) / made.scale[0])
    return round_product(tf.cast(total, tf.float32), factor, activation_ends(o, made))


def _layer(
    s: Any,
    o: Operator,
    place: int,
    weights: Tensor,
    axis: int,
    product: Callable[[Any, np.ndarray], Any],
    own_kernel: bool = False,
    wide: Callable[..., Any] = multiplied_wide,
) -> Any:
    tf = tensorflow()
    read, made, bias = o.read(place), o.outputs[0], bias_of(o)
    codes = s.codes(read)
    exact = made.dtype == np.int8 and largest_sum(read, weights, axis, bias) < EXACT_IN_FLOAT32
    dtype = tf.float32 if exact else tf.float64
    total = product(codes if exact else tf.cast(codes, dtype), weights.constant)
    if bias is not None and bias.constant.any():
        total = total + tf.constant(bias.constant.astype(dtype.as_numpy_dtype))
    if made.dtype == np.int16:
        return wide(total, read, weights, made, activation_ends(o, made))
    if own_kernel:
        return multiplied(total, read, weights, made, activation_ends(o, made))
    return round_product(tf.cast(total, tf.float32), multiplier(read, weights, made), activation_ends(o, made))


def _numbers(weights: np.ndarray, like: Any) -> Any:
    """Codes as numbers of the type of a tensor; the graph keeps them as they are, a quarter of the size or less."""
    tf = tensorflow()
    return tf.cast(tf.constant(weights), like.dtype)


def bias_of(o: Operator) -> Tensor | None:
    """The bias that a layer adds, int32 or int64."""
    read = (tensor for tensor in o.inputs[2:] if tensor is not None)
    return next((tensor for tensor in read if tensor.dtype in (np.int32, np.int64) and tensor.scale.size), None)


def multiplier(read: Tensor, weights: Tensor, made: Tensor) -> np.ndarray:
    """What a kernel multiplies its sums by: scale * scale / result's scale, float32 after each of the two steps."""
    factors = (read.scale[0] * weights.scale) / made.scale[0]
    return factors if factors.size > 1 else factors[0]


def largest_sum(read: Tensor, weights: Tensor, axis: int, bias: Tensor | None) -> float:
    """A bound of every sum and partial sum of a layer in absolute value, the bias among it."""
    codes = np.abs(weights.constant.astype(np.int64))
    others = tuple(other for other in range(codes.ndim) if other != axis)
    largest = 0 if bias is None else np.abs(bias.constant.astype(np.int64)).max()
    return float(codes.sum(axis=others).max()) * _reach(read) + float(largest)


def _reach(tensor: Tensor) -> int:
    limits = np.iinfo(tensor.dtype)
    return max(limits.max - tensor.zero_point, tensor.zero_point - limits.min)

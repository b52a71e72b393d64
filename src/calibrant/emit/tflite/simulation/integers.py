"""Integer operators of a simulation, as LiteRT's kernels compute them.

None of these kernels rounds a real number to nearest: each has a fixed-point or float32 formula of its own. Layers,
sums, products and means are written here with stock operations, exactly; what works on one code at a time is a table
that the kernel itself has filled (:mod:`calibrant.emit.tflite.simulation.kernel_tables`). What is left rounds the
real result, and may be a step beside the kernel.

References
----------
XNNPACK: qs8-vadd, qs8-vmul, qs8-rdsum, qs8-gemm. LiteRT's own kernel for AVERAGE_POOL_2D. The formulas were checked
against the kernels over every sum and code; the tests do the same with fewer.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from calibrant.emit.tflite.file_parts import Operator, Tensor
from calibrant.emit.tflite.planning.kernels import COMPARING
from calibrant.emit.tflite.simulation.codes import (
    activation_ends,
    away_from_zero,
    clipped,
    ends,
    hidden,
    round_product,
    round_real,
)
from calibrant.emit.tflite.simulation.fixed_point import bilinear, bilinear_to
from calibrant.emit.tflite.simulation.float_layers import same_padding, window
from calibrant.emit.tflite.simulation.floats import FLOATS, moved
from calibrant.emit.tflite.simulation.kernel_tables import table_of_one, table_of_two
from calibrant.emit.tflite.simulation.layers import batch_matmul, conv, depthwise, fully_connected, transpose_conv
from calibrant.graph.tensorflow import tensorflow

ADDITION_BITS = 20
ADDITION_RATIOS = (2.0**-10, 2.0**8)
MOST_SLOPES = 1 << 15
"""Each takes a table of 256 codes."""


def by_table(s: Any, o: Operator) -> Any:
    """One code at a time."""
    tf = tensorflow()
    read, made = o.read(0), o.outputs[0]
    table = table_of_one(o).astype(np.float32) - np.float32(made.zero_point)
    lowest = ends(read)[0]
    return tf.gather(tf.constant(table), tf.cast(s.codes(read) - np.float32(lowest), tf.int32))


def prelu(s: Any, o: Operator) -> Any:
    """A table for each slope; they are one a channel, or one a place of the image."""
    tf = tensorflow()
    read, slope, made = o.read(0), o.read(1), o.outputs[0]
    if slope.values is None or slope.values.size > MOST_SLOPES:
        return rounded(s, o)
    table = (table_of_one(o, slope).astype(np.float32) - np.float32(made.zero_point)).ravel()
    count = slope.values.size
    codes = tf.cast(s.codes(read) + np.float32(read.zero_point + 128), tf.int32)
    return tf.gather(tf.constant(table), codes * count + tf.reshape(tf.range(count), slope.shape))


def by_pairs(s: Any, o: Operator) -> Any:
    """Two codes at a time."""
    return _of_pairs(s, o, table_of_two(o).astype(np.float32) - np.float32(o.outputs[0].zero_point))


def compare(s: Any, o: Operator) -> Any:
    """Two codes at a time: what they stand for is compared in whole multiples of 1/256."""
    return _of_pairs(s, o, table_of_two(o).astype(bool))


def _of_pairs(s: Any, o: Operator, table: np.ndarray) -> Any:
    tf = tensorflow()
    place = [tf.cast(s.codes(t) + np.float32(t.zero_point + 128), tf.int32) for t in (o.read(0), o.read(1))]
    return tf.gather(tf.constant(table.ravel()), place[0] * 256 + place[1])


def add(s: Any, o: Operator) -> Any:
    """Integer multiples of both codes are added and shifted right, half a step rounding up (qs8-vadd)."""
    tf = tensorflow()
    made = o.outputs[0]
    read = (o.read(0), o.read(1))
    scales = [np.float32(tensor.scale[0] / made.scale[0]) for tensor in read]
    low, high = ADDITION_RATIOS
    if not low <= min(scales) <= max(scales) < high:
        return by_pairs(s, o)
    shift = ADDITION_BITS - (math.frexp(max(scales))[1] - 1)
    multiples = [np.float64(np.rint(np.ldexp(np.float64(scale), shift))) for scale in scales]
    if o.name == "SUB":
        multiples[1] = -multiples[1]
    terms = [tf.cast(s.codes(tensor), tf.float64) * multiple for tensor, multiple in zip(read, multiples, strict=True)]
    steps = tf.floor((terms[0] + terms[1]) * np.float64(2.0**-shift) + np.float64(0.5))
    return clipped(tf.cast(steps, tf.float32), activation_ends(o, made))


def multiply(s: Any, o: Operator) -> Any:
    """The product of both codes times one float32 (qs8-vmul)."""
    made = o.outputs[0]
    factor = np.float32(np.float32(o.read(0).scale[0] * o.read(1).scale[0]) / made.scale[0])
    product = s.codes(o.read(0)) * s.codes(o.read(1))
    return round_product(product, factor, activation_ends(o, made))


def mean(s: Any, o: Operator) -> Any:
    """The sum of all codes times one float32, plus another, halves rounded away from zero (qs8-rdsum)."""
    tf = tensorflow()
    read, made = o.read(0), o.outputs[0]
    axes = np.atleast_1d(o.read(1).constant)
    sizes = [size for axis in axes if (size := read.signature[int(axis)]) is not None]
    if len(sizes) < axes.size:
        return rounded(s, o)
    every = math.prod(sizes)
    count = every if o.name == "MEAN" else 1
    factor = np.float32(read.scale[0] / made.scale[0]) * (np.float32(1) / np.float32(count))
    bias = np.float32(np.float32(-read.zero_point * every) * factor) + np.float32(made.zero_point)
    total = tf.reduce_sum(tf.cast(s.codes(read), tf.float64), axes.tolist(), keepdims=bool(o.options.keepDims))
    total = tf.cast(total + np.float64(read.zero_point * every), tf.float32)
    real = total * hidden(factor, "factor") + hidden(bias, "bias")
    return clipped(away_from_zero(real) - np.float32(made.zero_point), ends(made))


def average_pool(s: Any, o: Operator) -> Any:
    """The mean of a window's codes as a whole number, halves away from zero."""
    tf = tensorflow()
    read, made = o.read(0), o.outputs[0]
    codes = s.codes(read) + np.float32(read.zero_point)
    size, steps = window(o.options)
    found = tf.nn.avg_pool2d(codes, size, steps, same_padding(o.options))
    # A mean that is no half is at least 1/(2 n) beside one: the float32 division cannot hide which it is.
    nudge = 1 / (4 * math.prod(size))
    whole = away_from_zero(found, 0.5 + nudge) - np.float32(read.zero_point)
    return clipped(whole, activation_ends(o, made))


def softmax(s: Any, o: Operator) -> Any:
    """Exponentials from a table, added up in order, each times one float32 (LiteRT's own kernel)."""
    tf = tensorflow()
    read, made = o.read(0), o.outputs[0]
    below = np.float32(-read.scale[0] * np.float32(o.options.beta)) * np.arange(256, dtype=np.float32)
    with np.errstate(under="ignore"):
        powers_of = np.exp(below.astype(np.float64)).astype(np.float32)
    table = tf.constant(powers_of)
    codes = s.codes(read)
    powers = tf.gather(table, tf.cast(tf.reduce_max(codes, -1, keepdims=True) - codes, tf.int32))
    total = tf.cumsum(powers, -1)[..., -1:]
    shares = powers * (np.float32(1) / (total * made.scale[0]))
    low, high = ends(made)
    return clipped(away_from_zero(shares) + np.float32(low), (low, high))


def resize_bilinear(s: Any, o: Operator) -> Any:
    """In fixed point; where sizes are computed as the file runs, LiteRT's own kernel takes it."""
    codes, sizes = s.codes(o.read(0)), o.read(1).values
    return bilinear_to(codes, o, s.real(o.read(1))) if sizes is None else bilinear(codes, o, sizes)


def quantize(s: Any, o: Operator) -> Any:
    """Real numbers or codes of another scale."""
    read = o.read(0)
    return round_real(s.real(read), o.outputs[0]) if not read.scale.size else by_table(s, o)


def dequantize(s: Any, o: Operator) -> Any:
    """Real numbers."""
    return s.real(o.read(0))


def move(s: Any, o: Operator) -> Any:
    """Codes instead of numbers, in the same way."""
    return moved(s, o, s.codes)


def gather(s: Any, o: Operator) -> Any:
    """Rows of a table, which the graph keeps as it is: in float32 it would have four times the size."""
    table = o.read(0)
    if table.values is None:
        return move(s, o)
    tf = tensorflow()
    rows = moved(s, o, lambda constant: tf.constant(constant.constant))
    return tf.cast(rows, tf.float32) - np.float32(table.zero_point)


def rounded(s: Any, o: Operator) -> Any:
    """What the operator makes of real numbers, rounded; the kernel may be a step beside it."""
    made = FLOATS[o.name](s, o)
    made = made if isinstance(made, (list, tuple)) else [made]
    return [
        round_real(value, tensor) if tensor.dtype == np.int8 else value
        for tensor, value in zip(o.outputs, made, strict=False)
    ]


def by_value(s: Any, o: Operator) -> Any:
    """Indices and truth values."""
    return FLOATS[o.name](s, o)


_MOVING = (
    *("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "MAX_POOL_2D", "PAD", "PADV2", "SLICE", "STRIDED_SLICE"),
    *("SPLIT", "SPLIT_V", "SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "SPACE_TO_DEPTH", "DEPTH_TO_SPACE", "UNPACK"),
    *("GATHER_ND", "TILE", "MIRROR_PAD", "RESIZE_NEAREST_NEIGHBOR", "CONCATENATION", "PACK", "REVERSE_V2"),
    *("BROADCAST_TO", "REDUCE_MAX", "REDUCE_MIN", "TOPK_V2", "MAXIMUM", "MINIMUM", "SELECT_V2", "SELECT", "FILL"),
    "ONE_HOT",
)
_TABLES = (
    *("LOGISTIC", "TANH", "ELU", "LEAKY_RELU", "HARD_SWISH", "GELU", "ABS", "EXP", "LOG", "SQRT", "RSQRT"),
    *("RELU", "RELU6", "RELU_N1_TO_1"),
)
_VALUES = ("ARG_MAX", "ARG_MIN", "SHAPE", "RANK")

INTEGERS = {
    **dict.fromkeys(_MOVING, move),
    **dict.fromkeys(_TABLES, by_table),
    **dict.fromkeys(_VALUES, by_value),
    **dict.fromkeys(COMPARING, compare),
    "GATHER": gather,
    "QUANTIZE": quantize,
    "DEQUANTIZE": dequantize,
    "CONV_2D": conv,
    "DEPTHWISE_CONV_2D": depthwise,
    "TRANSPOSE_CONV": transpose_conv,
    "FULLY_CONNECTED": fully_connected,
    "BATCH_MATMUL": batch_matmul,
    "ADD": add,
    "SUB": add,
    "MUL": multiply,
    "SQUARED_DIFFERENCE": by_pairs,
    "PRELU": prelu,
    "SOFTMAX": softmax,
    "MEAN": mean,
    "SUM": mean,
    "AVERAGE_POOL_2D": average_pool,
    "RESIZE_BILINEAR": resize_bilinear,
    **dict.fromkeys(("LOG_SOFTMAX", "L2_NORMALIZATION"), rounded),
}
"""Operator → its codes, those of the kernel."""

WITHIN_A_STEP = frozenset({"RESIZE_BILINEAR", "LOG_SOFTMAX", "L2_NORMALIZATION"})
"""Operators whose codes may be a step beside the kernel's."""

__all__ = ["INTEGERS", "WITHIN_A_STEP", "Tensor"]

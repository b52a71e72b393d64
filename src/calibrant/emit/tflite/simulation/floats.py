"""Operators of LiteRT on floating-point numbers and on whole ones, as TensorFlow operations: a table.

A new operator is a row: what it makes of the tensors it reads.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from calibrant.emit.tflite.file_parts import DTYPES, Operator
from calibrant.emit.tflite.rewrites.float_kernels import mean_in_kernel_order
from calibrant.emit.tflite.simulation.audio import AUDIO
from calibrant.emit.tflite.simulation.float_layers import FLOAT_LAYERS
from calibrant.emit.tflite.simulation.moves import MOVES, number
from calibrant.emit.tflite.simulation.rows import Row, activated, binary, of_all, of_list, reduction, unary
from calibrant.graph.tensorflow import tensorflow
from calibrant.graph.tf_core import dtypes


def moved(s: Any, o: Operator, values: Callable[[Any], Any]) -> Any:
    """Run a row on other values than the real ones, such as codes, where an operator reads its data."""
    return FLOATS[o.name](_Reading(s, values), o)


class _Reading:
    """Tensors whose real values are taken from elsewhere where they are codes."""

    def __init__(self, s: Any, values: Callable[[Any], Any]):
        self._s, self._values = s, values

    def real(self, tensor: Any) -> Any:
        """The values."""
        return self._s.real(tensor) if tensor is None or not tensor.scale.size else self._values(tensor)


def _mean(s: Any, o: Operator) -> Any:
    tf = tensorflow()
    value, axes = s.real(o.read(0)), o.read(1).constant
    keep = bool(o.options.keepDims)
    found = None if axes is None else mean_in_kernel_order(value, axes, keep)
    return tf.reduce_mean(value, s.real(o.read(1)), keepdims=keep) if found is None else found


def _leaky(s: Any, o: Operator) -> Any:
    return tensorflow().nn.leaky_relu(s.real(o.read(0)), o.options.alpha)


def _prelu(s: Any, o: Operator) -> Any:
    tf = tensorflow()
    value = s.real(o.read(0))
    return tf.where(value >= 0, value, value * s.real(o.read(1)))


def _hard_swish(s: Any, o: Operator) -> Any:
    value = s.real(o.read(0))
    return value * tensorflow().nn.relu6(value + 3.0) * np.float32(1 / 6)


def _gelu(s: Any, o: Operator) -> Any:
    return tensorflow().nn.gelu(s.real(o.read(0)), approximate=bool(o.options.approximate))


def _softmax(s: Any, o: Operator) -> Any:
    tf = tensorflow()
    value = s.real(o.read(0))
    return tf.nn.softmax(value if o.options.beta == 1 else value * np.float32(o.options.beta))


def _arg(function: str) -> Row:
    def row(s: Any, o: Operator) -> Any:
        dtype = dtypes.as_dtype(DTYPES[o.options.outputType])
        return getattr(tensorflow(), function)(s.real(o.read(0)), number(s, o.read(1)), output_type=dtype)

    return row


def _cast(s: Any, o: Operator) -> Any:
    values, kind = s.real(o.read(0)), o.outputs[0].dtype
    if values.dtype.is_floating and kind in SATURATED:
        values = tensorflow().clip_by_value(values, np.iinfo(kind).min, np.iinfo(kind).max)
    return tensorflow().cast(values, kind)


def _shape(s: Any, o: Operator) -> Any:
    return tensorflow().shape(s.real(o.read(0)), o.outputs[0].dtype)


def _cumsum(s: Any, o: Operator) -> Any:
    options = o.options
    return tensorflow().cumsum(
        s.real(o.read(0)), number(s, o.read(1)), exclusive=bool(options.exclusive), reverse=bool(options.reverse)
    )


def _one_hot(s: Any, o: Operator) -> Any:
    return tensorflow().one_hot(*(s.real(tensor) for tensor in o.inputs), axis=o.options.axis)


def _unique(s: Any, o: Operator) -> Any:
    return tensorflow().unique(s.real(o.read(0)), dtypes.as_dtype(DTYPES[o.options.idxOutType]))


def _lrn(s: Any, o: Operator) -> Any:
    options = o.options
    return tensorflow().nn.local_response_normalization(
        s.real(o.read(0)), options.radius, options.bias, options.alpha, options.beta
    )


def _l2(s: Any, o: Operator) -> Any:
    return activated(o, tensorflow().math.l2_normalize(s.real(o.read(0)), -1))


def _while(s: Any, o: Operator) -> Any:
    tf = tensorflow()
    condition, body = o.options.condSubgraphIndex, o.options.bodySubgraphIndex
    shapes = s.open_shapes(body)

    def step(*values: Any) -> list[Any]:
        made = zip(s.called(body, values), shapes, strict=True)
        return [tf.ensure_shape(value, shape) if value.shape.rank == shape.rank else value for value, shape in made]

    first = [s.real(tensor) for tensor in o.inputs]
    return tf.while_loop(lambda *values: tf.reshape(s.called(condition, values)[0], []), step, first, shapes)


def _if(s: Any, o: Operator) -> Any:
    chosen, *values = (s.real(tensor) for tensor in o.inputs)
    branches = (o.options.thenSubgraphIndex, o.options.elseSubgraphIndex)
    runs = (functools.partial(s.called, number, values) for number in branches)
    return tensorflow().cond(tensorflow().reshape(chosen, []), *runs)


SATURATED = (np.dtype(np.uint8), np.dtype(np.int16))
"""Types to which the kernel casts the nearest number; of others, numbers beyond the type lose their upper bits."""
_SEGMENTS = ("SEGMENT_MAX", "SEGMENT_MIN", "SEGMENT_PROD", "SEGMENT_SUM")
_BOXES = ("boxes", "scores", "max_output_size", "iou_threshold", "score_threshold")


def _selected(s: Any, o: Operator, operation: str, *names: str) -> Any:
    """The kernel drops a box whose overlap is the threshold, where TensorFlow drops what is above it."""
    tf = tensorflow()
    read = dict(zip(names, map(s.real, o.inputs), strict=True))
    below = tf.math.nextafter(read.pop("iou_threshold"), tf.constant(0.0))
    return getattr(tf.raw_ops, operation)(**read, iou_threshold=below, pad_to_max_output_size=True)


FLOATS: dict[str, Row] = {
    **FLOAT_LAYERS,
    **MOVES,
    **AUDIO,
    **{name: binary(name.lower()) for name in ("ADD", "MAXIMUM", "MINIMUM", "EQUAL", "NOT_EQUAL", "GREATER", "LESS")},
    **{name: binary(name.lower()) for name in ("GREATER_EQUAL", "LESS_EQUAL", "LOGICAL_AND", "LOGICAL_OR", "POW")},
    **{name: unary(name.lower()) for name in ("ABS", "EXP", "SQRT", "SQUARE", "SIN", "COS", "SIGN", "FLOOR", "ROUND")},
    **{name: unary(name.lower()) for name in ("TANH", "LOGICAL_NOT", "RANK", "ZEROS_LIKE", "WHERE")},
    **{name: unary(f"nn.{name.lower()}") for name in ("ELU", "RELU", "RELU6", "LOG_SOFTMAX")},
    **{name: unary(f"math.{name.lower()}") for name in ("LOG", "RSQRT", "CEIL", "REAL", "IMAG")},
    **{
        name: reduction(name.lower())
        for name in ("REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "REDUCE_ANY", "REDUCE_ALL")
    },
    **{f"UNSORTED_{name}": of_all(f"math.unsorted_{name.lower()}") for name in _SEGMENTS},
    "ADD_N": of_list("add_n"),
    "SUB": binary("subtract"),
    "MUL": binary("multiply"),
    "DIV": binary("divide"),
    "SQUARED_DIFFERENCE": binary("math.squared_difference"),
    "FLOOR_DIV": binary("math.floordiv"),
    "FLOOR_MOD": binary("math.floormod"),
    "ATAN2": binary("atan2"),
    "BITWISE_XOR": binary("bitwise.bitwise_xor"),
    "RIGHT_SHIFT": binary("bitwise.right_shift"),
    "NEG": unary("negative"),
    "LOGISTIC": unary("sigmoid"),
    "COMPLEX_ABS": unary("abs"),
    "RFFT2D": of_all("signal.rfft2d"),
    "RELU_N1_TO_1": lambda s, o: tensorflow().clip_by_value(s.real(o.read(0)), -1.0, 1.0),
    "RELU_0_TO_1": lambda s, o: tensorflow().clip_by_value(s.real(o.read(0)), 0.0, 1.0),
    "LEAKY_RELU": _leaky,
    "PRELU": _prelu,
    "HARD_SWISH": _hard_swish,
    "GELU": _gelu,
    "SOFTMAX": _softmax,
    "L2_NORMALIZATION": _l2,
    "LOCAL_RESPONSE_NORMALIZATION": _lrn,
    "SUM": reduction("reduce_sum"),
    "MEAN": _mean,
    "SEGMENT_SUM": of_all("math.segment_sum"),
    "ARG_MAX": _arg("argmax"),
    "ARG_MIN": _arg("argmin"),
    "TOPK_V2": of_all("math.top_k"),
    "UNIQUE": _unique,
    "NON_MAX_SUPPRESSION_V4": lambda s, o: _selected(s, o, "NonMaxSuppressionV4", *_BOXES),
    "NON_MAX_SUPPRESSION_V5": lambda s, o: _selected(s, o, "NonMaxSuppressionV5", *_BOXES, "soft_nms_sigma"),
    "CUMSUM": _cumsum,
    "BUCKETIZE": lambda s, o: tensorflow().raw_ops.Bucketize(
        input=s.real(o.read(0)), boundaries=[float(each) for each in o.options.boundaries]
    ),
    "BROADCAST_ARGS": of_all("broadcast_dynamic_shape"),
    "ONE_HOT": _one_hot,
    "RANGE": of_all("range"),
    "CAST": _cast,
    "BITCAST": lambda s, o: tensorflow().bitcast(s.real(o.read(0)), o.outputs[0].dtype),
    "SHAPE": _shape,
    "WHILE": _while,
    "IF": _if,
    "DEQUANTIZE": lambda s, o: tensorflow().cast(s.real(o.read(0)), "float32"),
}

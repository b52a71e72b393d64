"""Operators of LiteRT on floating-point numbers and on whole ones, as TensorFlow operations: a table.

A new operator is a row: what it makes of the tensors it reads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from calibrant.emit.tflite.flatbuffer import DTYPES, Operator
from calibrant.emit.tflite.float_kernels import mean_in_kernel_order
from calibrant.emit.tflite.schema import schema
from calibrant.graph.tensorflow import tensorflow
from calibrant.graph.tf_core import dtypes

PADDING = {schema.Padding.SAME: "SAME", schema.Padding.VALID: "VALID"}


def same_padding(options: Any) -> str:
    """SAME or VALID."""
    return PADDING[options.padding]


def strides(options: Any) -> list[int]:
    """Steps in height and width."""
    return [options.strideH, options.strideW]


def dilations(options: Any) -> list[int]:
    """Distances of a window's taps in height and width."""
    return [options.dilationHFactor, options.dilationWFactor]


def window(options: Any) -> tuple[list[int], list[int]]:
    """A pooling's window and steps."""
    return [options.filterHeight, options.filterWidth], strides(options)


def activated(o: Operator, value: Any) -> Any:
    """The activation that is fused into an operator."""
    tf = tensorflow()
    kind = getattr(o.options, "fusedActivationFunction", 0)
    functions = {1: tf.nn.relu, 2: lambda x: tf.clip_by_value(x, -1.0, 1.0), 3: tf.nn.relu6, 4: tf.tanh}
    return functions[kind](value) if kind in functions else value


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


def _unary(function: str) -> Callable[[Any, Operator], Any]:
    def row(s: Any, o: Operator) -> Any:
        return _function(function)(s.real(o.read(0)))

    return row


def _binary(function: str) -> Callable[[Any, Operator], Any]:
    def row(s: Any, o: Operator) -> Any:
        return activated(o, _function(function)(s.real(o.read(0)), s.real(o.read(1))))

    return row


def _reduction(function: str) -> Callable[[Any, Operator], Any]:
    def row(s: Any, o: Operator) -> Any:
        return _function(function)(s.real(o.read(0)), s.real(o.read(1)), keepdims=bool(o.options.keepDims))

    return row


def _function(path: str) -> Any:
    found: Any = tensorflow()
    for part in path.split("."):
        found = getattr(found, part)
    return found


def _mean(s: Any, o: Operator) -> Any:
    tf = tensorflow()
    value, axes = s.real(o.read(0)), o.read(1).constant
    keep = bool(o.options.keepDims)
    found = None if axes is None else mean_in_kernel_order(value, axes, keep)
    return tf.reduce_mean(value, s.real(o.read(1)), keepdims=keep) if found is None else found


def _conv(s: Any, o: Operator) -> Any:
    tf = tensorflow()
    filters = tf.transpose(s.real(o.read(1)), [1, 2, 3, 0])
    made = tf.nn.conv2d(
        s.real(o.read(0)), filters, strides(o.options), same_padding(o.options), dilations=dilations(o.options)
    )
    return activated(o, _biased(s, o, made, 2))


def _depthwise(s: Any, o: Operator) -> Any:
    tf = tensorflow()
    shape = o.read(1).shape
    filters = tf.reshape(s.real(o.read(1)), [*shape[1:3], o.read(0).shape[3], -1])
    made = tf.nn.depthwise_conv2d(
        s.real(o.read(0)),
        filters,
        [1, *strides(o.options), 1],
        same_padding(o.options),
        dilations=dilations(o.options),
    )
    return activated(o, _biased(s, o, made, 2))


def _transpose_conv(s: Any, o: Operator) -> Any:
    tf = tensorflow()
    filters = tf.transpose(s.real(o.read(1)), [1, 2, 0, 3])
    made = tf.nn.conv2d_transpose(
        s.real(o.read(2)), filters, s.real(o.read(0)), strides(o.options), same_padding(o.options)
    )
    return activated(o, _biased(s, o, made, 3))


def _conv_3d(s: Any, o: Operator) -> Any:
    tf, options = tensorflow(), o.options
    steps = [1, options.strideD, options.strideH, options.strideW, 1]
    spread = [1, options.dilationDFactor, options.dilationHFactor, options.dilationWFactor, 1]
    made = tf.nn.conv3d(s.real(o.read(0)), s.real(o.read(1)), steps, same_padding(options), dilations=spread)
    return activated(o, _biased(s, o, made, 2))


def _fully_connected(s: Any, o: Operator) -> Any:
    tf = tensorflow()
    value, weights = s.real(o.read(0)), tf.transpose(s.real(o.read(1)))
    if not o.options.keepNumDims:
        value = tf.reshape(value, [-1, o.read(1).shape[1]])
    made = tf.matmul(value, weights) if value.shape.rank == 2 else tf.tensordot(value, weights, 1)
    return activated(o, _biased(s, o, made, 2))


def _biased(s: Any, o: Operator, made: Any, place: int) -> Any:
    bias = o.inputs[place] if place < len(o.inputs) else None
    return made if bias is None else made + s.real(bias)


def _batch_matmul(s: Any, o: Operator) -> Any:
    read = s.real(o.read(0)), s.real(o.read(1))
    return tensorflow().linalg.matmul(*read, transpose_a=bool(o.options.adjX), transpose_b=bool(o.options.adjY))


def _pool(function: str) -> Callable[[Any, Operator], Any]:
    def row(s: Any, o: Operator) -> Any:
        return activated(o, _function(function)(s.real(o.read(0)), *window(o.options), same_padding(o.options)))

    return row


def _reshape(s: Any, o: Operator) -> Any:
    tf = tensorflow()
    shape = s.real(o.read(1)) if len(o.inputs) > 1 else np.array(o.options.newShape, np.int32)
    return tf.reshape(s.real(o.read(0)), shape)


def _squeeze(s: Any, o: Operator) -> Any:
    axes = o.options.squeezeDims
    return tensorflow().squeeze(s.real(o.read(0)), None if axes is None else [int(axis) for axis in axes])


def _strided_slice(s: Any, o: Operator) -> Any:
    options = o.options
    return tensorflow().strided_slice(
        *(s.real(tensor) for tensor in o.inputs),
        begin_mask=options.beginMask,
        end_mask=options.endMask,
        ellipsis_mask=options.ellipsisMask,
        new_axis_mask=options.newAxisMask,
        shrink_axis_mask=options.shrinkAxisMask,
    )


def _split(s: Any, o: Operator) -> Any:
    return tensorflow().split(s.real(o.read(1)), len(o.outputs), axis=_number(s, o.read(0)))


def _split_v(s: Any, o: Operator) -> Any:
    sizes = o.read(1).constant.tolist()
    return tensorflow().split(s.real(o.read(0)), sizes, axis=_number(s, o.read(2)))


def _number(s: Any, tensor: Any) -> Any:
    return int(np.asarray(tensor.values).reshape(())) if tensor.values is not None else s.real(tensor)


def _concatenation(s: Any, o: Operator) -> Any:
    return activated(o, tensorflow().concat([s.real(tensor) for tensor in o.inputs], o.options.axis))


def _pack(s: Any, o: Operator) -> Any:
    return tensorflow().stack([s.real(tensor) for tensor in o.inputs], o.options.axis)


def _unpack(s: Any, o: Operator) -> Any:
    return tensorflow().unstack(s.real(o.read(0)), o.options.num, o.options.axis)


def _padv2(s: Any, o: Operator) -> Any:
    value = tensorflow().reshape(s.real(o.read(2)), [])
    return tensorflow().pad(s.real(o.read(0)), s.real(o.read(1)), constant_values=value)


def _mirror_pad(s: Any, o: Operator) -> Any:
    mode = "REFLECT" if o.options.mode == schema.MirrorPadMode.REFLECT else "SYMMETRIC"
    return tensorflow().pad(s.real(o.read(0)), s.real(o.read(1)), mode)


def _gather(s: Any, o: Operator) -> Any:
    return tensorflow().gather(
        s.real(o.read(0)), s.real(o.read(1)), axis=o.options.axis, batch_dims=o.options.batchDims
    )


def _resize(method: str) -> Callable[[Any, Operator], Any]:
    def row(s: Any, o: Operator) -> Any:
        raw = tensorflow().raw_ops
        make = raw.ResizeBilinear if method == "bilinear" else raw.ResizeNearestNeighbor
        return make(
            images=s.real(o.read(0)),
            size=s.real(o.read(1)),
            align_corners=bool(o.options.alignCorners),
            half_pixel_centers=bool(o.options.halfPixelCenters),
        )

    return row


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


def _arg(function: str) -> Callable[[Any, Operator], Any]:
    def row(s: Any, o: Operator) -> Any:
        dtype = dtypes.as_dtype(DTYPES[o.options.outputType])
        return _function(function)(s.real(o.read(0)), _number(s, o.read(1)), output_type=dtype)

    return row


def _cast(s: Any, o: Operator) -> Any:
    return tensorflow().cast(s.real(o.read(0)), o.outputs[0].dtype)


def _shape(s: Any, o: Operator) -> Any:
    return tensorflow().shape(s.real(o.read(0)), o.outputs[0].dtype)


def _one_hot(s: Any, o: Operator) -> Any:
    read = [s.real(tensor) for tensor in o.inputs]
    return tensorflow().one_hot(*read, axis=o.options.axis)


def _cumsum(s: Any, o: Operator) -> Any:
    options = o.options
    return tensorflow().cumsum(
        s.real(o.read(0)), _number(s, o.read(1)), exclusive=bool(options.exclusive), reverse=bool(options.reverse)
    )


def _top_k(s: Any, o: Operator) -> Any:
    return tuple(tensorflow().math.top_k(s.real(o.read(0)), s.real(o.read(1))))


def _depth(function: str) -> Callable[[Any, Operator], Any]:
    def row(s: Any, o: Operator) -> Any:
        return _function(function)(s.real(o.read(0)), o.options.blockSize)

    return row


def _batch_space(function: str) -> Callable[[Any, Operator], Any]:
    def row(s: Any, o: Operator) -> Any:
        return _function(function)(*(s.real(tensor) for tensor in o.inputs))

    return row


def _lrn(s: Any, o: Operator) -> Any:
    options = o.options
    return tensorflow().nn.local_response_normalization(
        s.real(o.read(0)), options.radius, options.bias, options.alpha, options.beta
    )


def _l2(s: Any, o: Operator) -> Any:
    return activated(o, tensorflow().math.l2_normalize(s.real(o.read(0)), -1))


def _select(s: Any, o: Operator) -> Any:
    return tensorflow().where(*(s.real(tensor) for tensor in o.inputs))


def _fill(s: Any, o: Operator) -> Any:
    return tensorflow().fill(s.real(o.read(0)), s.real(o.read(1)))


def _all(function: str) -> Callable[[Any, Operator], Any]:
    def row(s: Any, o: Operator) -> Any:
        return _function(function)(*(s.real(tensor) for tensor in o.inputs))

    return row


FLOATS: dict[str, Callable[[Any, Operator], Any]] = {
    "ADD": _binary("add"),
    "ADD_N": lambda s, o: tensorflow().add_n([s.real(tensor) for tensor in o.inputs]),
    "SUB": _binary("subtract"),
    "MUL": _binary("multiply"),
    "DIV": _binary("divide"),
    "POW": _binary("pow"),
    "MAXIMUM": _binary("maximum"),
    "MINIMUM": _binary("minimum"),
    "SQUARED_DIFFERENCE": _binary("math.squared_difference"),
    "FLOOR_DIV": _binary("math.floordiv"),
    "FLOOR_MOD": _binary("math.floormod"),
    "ATAN2": _binary("atan2"),
    "EQUAL": _binary("equal"),
    "NOT_EQUAL": _binary("not_equal"),
    "GREATER": _binary("greater"),
    "GREATER_EQUAL": _binary("greater_equal"),
    "LESS": _binary("less"),
    "LESS_EQUAL": _binary("less_equal"),
    "LOGICAL_AND": _binary("logical_and"),
    "LOGICAL_OR": _binary("logical_or"),
    "LOGICAL_NOT": _unary("logical_not"),
    "ABS": _unary("abs"),
    "NEG": _unary("negative"),
    "EXP": _unary("exp"),
    "LOG": _unary("math.log"),
    "SQRT": _unary("sqrt"),
    "RSQRT": _unary("math.rsqrt"),
    "SQUARE": _unary("square"),
    "SIN": _unary("sin"),
    "COS": _unary("cos"),
    "SIGN": _unary("sign"),
    "FLOOR": _unary("floor"),
    "CEIL": _unary("math.ceil"),
    "ROUND": _unary("round"),
    "LOGISTIC": _unary("sigmoid"),
    "TANH": _unary("tanh"),
    "ELU": _unary("nn.elu"),
    "RELU": _unary("nn.relu"),
    "RELU6": _unary("nn.relu6"),
    "RELU_N1_TO_1": lambda s, o: tensorflow().clip_by_value(s.real(o.read(0)), -1.0, 1.0),
    "RELU_0_TO_1": lambda s, o: tensorflow().clip_by_value(s.real(o.read(0)), 0.0, 1.0),
    "LOG_SOFTMAX": _unary("nn.log_softmax"),
    "LEAKY_RELU": _leaky,
    "PRELU": _prelu,
    "HARD_SWISH": _hard_swish,
    "GELU": _gelu,
    "SOFTMAX": _softmax,
    "L2_NORMALIZATION": _l2,
    "LOCAL_RESPONSE_NORMALIZATION": _lrn,
    "SUM": _reduction("reduce_sum"),
    "MEAN": _mean,
    "REDUCE_MAX": _reduction("reduce_max"),
    "REDUCE_MIN": _reduction("reduce_min"),
    "REDUCE_PROD": _reduction("reduce_prod"),
    "REDUCE_ANY": _reduction("reduce_any"),
    "REDUCE_ALL": _reduction("reduce_all"),
    "ARG_MAX": _arg("argmax"),
    "ARG_MIN": _arg("argmin"),
    "TOPK_V2": _top_k,
    "CUMSUM": _cumsum,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "TRANSPOSE_CONV": _transpose_conv,
    "CONV_3D": _conv_3d,
    "FULLY_CONNECTED": _fully_connected,
    "BATCH_MATMUL": _batch_matmul,
    "MAX_POOL_2D": _pool("nn.max_pool2d"),
    "AVERAGE_POOL_2D": _pool("nn.avg_pool2d"),
    "RESIZE_BILINEAR": _resize("bilinear"),
    "RESIZE_NEAREST_NEIGHBOR": _resize("nearest"),
    "RESHAPE": _reshape,
    "SQUEEZE": _squeeze,
    "EXPAND_DIMS": lambda s, o: tensorflow().expand_dims(s.real(o.read(0)), _number(s, o.read(1))),
    "TRANSPOSE": _all("transpose"),
    "PAD": _all("pad"),
    "PADV2": _padv2,
    "MIRROR_PAD": _mirror_pad,
    "SLICE": _all("slice"),
    "STRIDED_SLICE": _strided_slice,
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "CONCATENATION": _concatenation,
    "PACK": _pack,
    "UNPACK": _unpack,
    "GATHER": _gather,
    "GATHER_ND": _all("gather_nd"),
    "TILE": _all("tile"),
    "BROADCAST_TO": _all("broadcast_to"),
    "BROADCAST_ARGS": lambda s, o: tensorflow().broadcast_dynamic_shape(s.real(o.read(0)), s.real(o.read(1))),
    "REVERSE_V2": _all("reverse"),
    "SPACE_TO_BATCH_ND": _batch_space("space_to_batch_nd"),
    "BATCH_TO_SPACE_ND": _batch_space("batch_to_space"),
    "SPACE_TO_DEPTH": _depth("nn.space_to_depth"),
    "DEPTH_TO_SPACE": _depth("nn.depth_to_space"),
    "SELECT": _select,
    "SELECT_V2": _select,
    "ONE_HOT": _one_hot,
    "FILL": _fill,
    "RANGE": _all("range"),
    "CAST": _cast,
    "BITCAST": lambda s, o: tensorflow().bitcast(s.real(o.read(0)), o.outputs[0].dtype),
    "SHAPE": _shape,
    "RANK": lambda s, o: tensorflow().rank(s.real(o.read(0))),
    "ZEROS_LIKE": _unary("zeros_like"),
    "WHERE": _unary("where"),
    "DEQUANTIZE": lambda s, o: tensorflow().cast(s.real(o.read(0)), "float32"),
}

"""Layers and poolings of LiteRT on floating-point numbers, as TensorFlow operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from calibrant.emit.tflite.file_parts import Operator
from calibrant.emit.tflite.schema import schema
from calibrant.emit.tflite.simulation.rows import Row, activated
from calibrant.graph.tensorflow import tensorflow

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
    steps, spread = _steps_3d(o.options)
    made = tensorflow().nn.conv3d(
        s.real(o.read(0)), s.real(o.read(1)), steps, same_padding(o.options), dilations=spread
    )
    return activated(o, _biased(s, o, made, 2))


def _transpose_conv_3d(s: Any, o: Operator) -> Any:
    steps, spread = _steps_3d(o.options)
    made = tensorflow().nn.conv3d_transpose(
        s.real(o.read(2)), s.real(o.read(1)), s.real(o.read(0)), steps, same_padding(o.options), dilations=spread
    )
    return activated(o, _biased(s, o, made, 3))


def _steps_3d(options: Any) -> tuple[list[int], list[int]]:
    steps = [1, options.strideD, options.strideH, options.strideW, 1]
    return steps, [1, options.dilationDFactor, options.dilationHFactor, options.dilationWFactor, 1]


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


def _pool(function: str) -> Row:
    def row(s: Any, o: Operator) -> Any:
        made = getattr(tensorflow().nn, function)(s.real(o.read(0)), *window(o.options), same_padding(o.options))
        return activated(o, made)

    return row


FLOAT_LAYERS: Mapping[str, Row] = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "TRANSPOSE_CONV": _transpose_conv,
    "CONV_3D": _conv_3d,
    "CONV_3D_TRANSPOSE": _transpose_conv_3d,
    "FULLY_CONNECTED": _fully_connected,
    "BATCH_MATMUL": _batch_matmul,
    "MAX_POOL_2D": _pool("max_pool2d"),
    "AVERAGE_POOL_2D": _pool("avg_pool2d"),
}

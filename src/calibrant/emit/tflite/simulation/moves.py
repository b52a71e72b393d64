"""Operators of LiteRT that move numbers to other places, as TensorFlow operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from calibrant.emit.tflite.file_parts import Operator
from calibrant.emit.tflite.schema import schema
from calibrant.emit.tflite.simulation.rows import Row, activated, of_all, of_list, raw
from calibrant.graph.tensorflow import tensorflow


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
    return tensorflow().split(s.real(o.read(1)), len(o.outputs), axis=number(s, o.read(0)))


def _split_v(s: Any, o: Operator) -> Any:
    sizes = o.read(1).constant.tolist()
    return tensorflow().split(s.real(o.read(0)), sizes, axis=number(s, o.read(2)))


def number(s: Any, tensor: Any) -> Any:
    """A whole number, as one where it is a constant."""
    return int(np.asarray(tensor.values).reshape(())) if tensor.values is not None else s.real(tensor)


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


def _resize(operation: str) -> Row:
    def row(s: Any, o: Operator) -> Any:
        return getattr(tensorflow().raw_ops, operation)(
            images=s.real(o.read(0)),
            size=s.real(o.read(1)),
            align_corners=bool(o.options.alignCorners),
            half_pixel_centers=bool(o.options.halfPixelCenters),
        )

    return row


def _depth(function: str) -> Row:
    return lambda s, o: getattr(tensorflow().nn, function)(s.real(o.read(0)), o.options.blockSize)


def _reverse_sequence(s: Any, o: Operator) -> Any:
    return tensorflow().reverse_sequence(
        s.real(o.read(0)), s.real(o.read(1)), seq_axis=o.options.seqDim, batch_axis=o.options.batchDim
    )


MOVES: Mapping[str, Row] = {
    "RESIZE_BILINEAR": _resize("ResizeBilinear"),
    "RESIZE_NEAREST_NEIGHBOR": _resize("ResizeNearestNeighbor"),
    "RESHAPE": _reshape,
    "SQUEEZE": _squeeze,
    "EXPAND_DIMS": lambda s, o: tensorflow().expand_dims(s.real(o.read(0)), number(s, o.read(1))),
    "TRANSPOSE": of_all("transpose"),
    "PAD": of_all("pad"),
    "PADV2": _padv2,
    "MIRROR_PAD": _mirror_pad,
    "SLICE": of_all("slice"),
    "STRIDED_SLICE": _strided_slice,
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "CONCATENATION": lambda s, o: activated(o, of_list("concat", axis="axis")(s, o)),
    "PACK": of_list("stack", axis="axis"),
    "UNPACK": _unpack,
    "GATHER": _gather,
    "GATHER_ND": of_all("gather_nd"),
    "EMBEDDING_LOOKUP": lambda s, o: tensorflow().gather(s.real(o.read(1)), s.real(o.read(0))),
    "SCATTER_ND": of_all("scatter_nd"),
    "SPARSE_TO_DENSE": raw("SparseToDense", "sparse_indices", "output_shape", "sparse_values", "default_value"),
    "TILE": of_all("tile"),
    "BROADCAST_TO": of_all("broadcast_to"),
    "REVERSE_V2": of_all("reverse"),
    "REVERSE_SEQUENCE": _reverse_sequence,
    "SPACE_TO_BATCH_ND": of_all("space_to_batch_nd"),
    "BATCH_TO_SPACE_ND": of_all("batch_to_space"),
    "SPACE_TO_DEPTH": _depth("space_to_depth"),
    "DEPTH_TO_SPACE": _depth("depth_to_space"),
    "SELECT": raw("Select", "condition", "x", "y"),
    "SELECT_V2": of_all("where"),
    "FILL": of_all("fill"),
    "MATRIX_DIAG": of_all("linalg.diag"),
    "MATRIX_SET_DIAG": of_all("linalg.set_diag"),
}

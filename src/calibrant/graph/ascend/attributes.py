"""Attributes of the four operators, with the operator set's defaults where a file leaves them out."""

from __future__ import annotations

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.tf_core import NodeDef, dtypes


def float_type(node: NodeDef) -> dtypes.DType:
    """T; float32 by default."""
    return nd.attribute(node, "T") or dtypes.float32


def accumulator_type(node: NodeDef) -> dtypes.DType:
    """The type that stands for int32 in a graph of type T: float32, float64 where T is."""
    return dtypes.float64 if float_type(node) == dtypes.float64 else dtypes.float32


def scale_of(node: NodeDef) -> float:
    """The scale, which has no default."""
    return nd.attribute(node, "scale")


def offset_of(node: NodeDef) -> float:
    """The offset; 0 by default."""
    return nd.attribute(node, "offset", 0.0)


def bits_of(node: NodeDef) -> int:
    """Width of the integers: 4 where dst_type is INT4, else quant_bits, 8 by default."""
    return 4 if nd.attribute(node, "dst_type") == "INT4" else nd.attribute(node, "quant_bits", 8)


def window_area(node: NodeDef) -> int:
    """The product of ksize; 1 by default."""
    return int(np.prod(nd.attribute(node, "ksize") or [1]))


def channel_shape(node: NodeDef, channels: int) -> tuple[int, ...]:
    """The shape in which one number per channel broadcasts against what AscendDequant reads."""
    data_format = nd.attribute(node, "data_format") or "NHWC"
    if channels == 1:
        return ()
    return (channels, *[1] * (len(data_format) - 2)) if data_format.startswith("NC") else (channels,)

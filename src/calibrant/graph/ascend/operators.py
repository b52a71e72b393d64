"""Each of the four operators in stock operations; see :mod:`calibrant.graph.ascend` for the meaning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.ascend.attributes import (
    accumulator_type,
    bits_of,
    channel_shape,
    float_type,
    offset_of,
    scale_of,
    window_area,
)
from calibrant.graph.ascend.deq_scale import unpack
from calibrant.graph.ascend.scoped_builder import ScopedBuilder
from calibrant.graph.tf_core import NodeDef, dtypes

SHORT_BITS = 16


class OperatorBuilder:
    """Adds nodes below one operator's name, in the type that stands for its integers."""

    def __init__(self, pieces: ScopedBuilder, node: NodeDef):
        self.type = accumulator_type(node)
        self._pieces, self._name = pieces, node.name

    def __call__(self, op: str, name: str, *inputs: str) -> str:
        return self._pieces.add(op, f"{self._name}/{name}", inputs, T=self.type)

    def constant(self, name: str, value: Any) -> str:
        """A constant."""
        return self._pieces.add_constant(f"{self._name}/{name}", np.asarray(value, self.type.as_numpy_dtype))

    def factor(self, name: str, value: float) -> str:
        """A constant that the optimizer leaves where it is."""
        return self._pieces.add_factor(f"{self._name}/{name}", np.asarray(value, self.type.as_numpy_dtype))

    def cast(self, tensor: str, name: str, before: dtypes.DType, after: dtypes.DType) -> str:
        """A tensor as another type."""
        return self._pieces.cast(tensor, f"{self._name}/{name}", before, after)


def quant(pieces: ScopedBuilder, node: NodeDef) -> None:
    """AscendQuant: MulNoNan, Round, AddV2, clip and Sub, the operations of the fake-quantized model."""
    below, bits = OperatorBuilder(pieces, node), bits_of(node)
    values = below.cast(nd.data_inputs(node)[0], "wide", float_type(node), below.type)
    offset = below.factor("offset", offset_of(node))
    scaled = below("MulNoNan", "scaled", values, below.factor("inverse_scale", scale_of(node)))
    shifted = below("AddV2", "shifted", below("Round", "rounded", scaled), offset)
    lowest, highest = -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1
    codes = below("ClipByValue", "codes", shifted, below.constant("lowest", lowest), below.constant("highest", highest))
    pieces.replace(node.name, below("Sub", "centred", codes, offset))


def weight_quant(pieces: ScopedBuilder, node: NodeDef) -> None:
    """AscendWeightQuant: a Cast, and a Sub where there is an offset."""
    below = OperatorBuilder(pieces, node)
    weights, offset = nd.data_inputs(node)
    values = below.cast(weights, "values", dtypes.int8, below.type)
    known = pieces.constant(offset)
    if known is None or known.any():
        values = below("Sub", "centred", values, below.cast(offset, "offset", dtypes.int8, below.type))
    pieces.replace(node.name, values)


def dequant(pieces: ScopedBuilder, node: NodeDef) -> None:
    """AscendDequant: a Mul; with a shift also floor and clip to int16."""
    below = OperatorBuilder(pieces, node)
    steps, packed = nd.data_inputs(node)
    scale, shift, _ = unpack(pieces.require_constant(packed).reshape(-1))
    shape = channel_shape(node, scale.size)
    factor = scale.astype(np.float64)
    if shift.any():
        area = window_area(node)
        if area != 1:
            steps = below("Round", "sum", below("Mul", "times_area", steps, below.constant("area", area)))
        moved = below("Mul", "moved", steps, below.constant("shift_right", np.exp2(-shift).reshape(shape)))
        bound = np.where(shift > 0, 2.0 ** (SHORT_BITS - 1), np.inf).reshape(shape)
        above = below("Maximum", "from_below", below("Floor", "floor", moved), below.constant("lowest", -bound))
        steps = below("Minimum", "short", above, below.constant("highest", bound - 1))
        factor = factor * np.exp2(shift) / area
    result = below("Mul", "floats", steps, below.constant("scale", factor.reshape(shape)))
    pieces.replace(node.name, below.cast(result, "narrow", below.type, float_type(node)))


def anti_quant(pieces: ScopedBuilder, node: NodeDef) -> None:
    """AscendAntiQuant: a Mul; the offset has been taken off by AscendQuant."""
    below = OperatorBuilder(pieces, node)
    result = below("Mul", "floats", nd.data_inputs(node)[0], below.factor("scale", scale_of(node)))
    pieces.replace(node.name, below.cast(result, "narrow", below.type, float_type(node)))


LOWERINGS: dict[str, Callable[[ScopedBuilder, NodeDef], None]] = {
    "AscendQuant": quant,
    "AscendWeightQuant": weight_quant,
    "AscendDequant": dequant,
    "AscendAntiQuant": anti_quant,
}

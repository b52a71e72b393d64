"""What is wrong with an operator in a file that somebody wrote."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.ascend.deq_scale import unpack
from calibrant.graph.ascend.scoped_builder import ScopedBuilder
from calibrant.graph.tf_core import NodeDef, dtypes

INPUTS = {"AscendQuant": 1, "AscendWeightQuant": 2, "AscendDequant": 2, "AscendAntiQuant": 1}
FLOATS = (None, dtypes.float16, dtypes.float32, dtypes.float64)
WIDEST = 16


def complaints(pieces: ScopedBuilder, node: NodeDef) -> Iterator[str]:
    """One sentence for each thing that keeps an operator from being read."""
    inputs = nd.data_inputs(node)
    if len(inputs) != INPUTS[node.op]:
        yield f"{node.op} has {len(inputs)} inputs, not {INPUTS[node.op]}"
        return
    if nd.attribute(node, "T") not in FLOATS:
        yield f"{node.op} has a T that is not a float type"
    if node.op in ("AscendQuant", "AscendAntiQuant"):
        yield from _factors(node)
    if node.op == "AscendQuant":
        yield from _width(node)
    if node.op == "AscendDequant":
        yield from _deq_scale(pieces.constant(inputs[1]))


def _factors(node: NodeDef) -> Iterator[str]:
    scale, offset = nd.attribute(node, "scale"), nd.attribute(node, "offset", 0.0)
    if scale is None:
        yield f"{node.op} has no scale"
    elif not isinstance(scale, float) or not np.isfinite(scale) or scale <= 0:
        yield f"{node.op} has the scale {scale}, which is not a positive finite float"
    if not isinstance(offset, float) or not np.isfinite(offset):
        yield f"{node.op} has the offset {offset}, which is not a finite float"


def _width(node: NodeDef) -> Iterator[str]:
    kind, bits = nd.attribute(node, "dst_type", "INT8"), nd.attribute(node, "quant_bits", 8)
    if kind not in ("INT4", "INT8"):
        yield f"{node.op} has the dst_type {kind!r}, not INT8 or INT4"
    if not isinstance(bits, int) or not 2 <= bits <= WIDEST:
        yield f"{node.op} has {bits} quant_bits, not 2 to {WIDEST}"


def _deq_scale(packed: np.ndarray | None) -> Iterator[str]:
    if packed is None:
        yield "AscendDequant has a deq_scale that is not a constant"
    elif packed.dtype != np.uint64 or packed.size == 0:
        yield f"AscendDequant has a deq_scale of {packed.size} {packed.dtype} values, not of at least one uint64"
    elif not np.isfinite(unpack(packed)[0]).all():
        yield "AscendDequant has a deq_scale whose scale is not a finite number"

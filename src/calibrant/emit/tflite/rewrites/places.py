"""Quotients of places, such as the row of the largest number of a map: LiteRT divides whole numbers of 32 bits only."""

from __future__ import annotations

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.tf_core import NodeDef, dtypes

PLACES = frozenset({"ArgMax", "ArgMin", "Range", "Shape", "Size", "Where"})
"""What makes numbers below those of elements of a tensor."""
SMALLER = frozenset({"FloorDiv", "FloorMod", "Minimum"})
MOVING = frozenset({"ExpandDims", "GatherV2", "Identity", "Reshape", "Slice", "Squeeze", "StridedSlice", "Transpose"})


def divide_in_32_bits(edit: Edit, node: NodeDef) -> None:
    """Divide places, which fit into 32 bits, as such numbers."""
    dividend, divisor = nd.data_inputs(node)
    by = edit.graph.constant(divisor)
    if nd.attribute(node, "T") != dtypes.int64 or by is None or not _is_place(edit.graph, dividend):
        return
    if np.abs(by).max(initial=0) > np.iinfo(np.int32).max:
        return
    short = edit.add("Cast", f"{node.name}/short", [dividend], SrcT=dtypes.int64, DstT=dtypes.int32)
    inputs = [short, edit.add_constant(f"{node.name}/divisor", by.astype(np.int32))]
    made = edit.add("FloorDiv", f"{node.name}/quotient", inputs, T=dtypes.int32)
    controls = nd.control_references(node)
    edit.put(nd.make_node("Cast", node.name, [made, *controls], SrcT=dtypes.int32, DstT=dtypes.int64))


def _is_place(graph: Graph, tensor: str) -> bool:
    node = graph.producer(tensor)
    while node.op in MOVING or (node.op in SMALLER and graph.constant(nd.data_inputs(node)[1]) is not None):
        node = graph.producer(nd.data_inputs(node)[0])
    return node.op in PLACES or (node.op == "Cast" and nd.attribute(node, "SrcT") == dtypes.int32)

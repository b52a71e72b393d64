"""A Cast between a float16 layer and its float32 norm, as in Keras' mixed precision."""

from __future__ import annotations

from calibrant.fold.channel_op import STAYS, ChannelOp
from calibrant.fold.layout import Layout
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef, dtypes

FLOATS = (dtypes.float16, dtypes.float32)


def recognise(graph: Graph, node: NodeDef, index: int, layout: Layout) -> ChannelOp | None:
    """A Cast from one of the float types to the other."""
    if node.op != "Cast" or nd.attribute(node, "SrcT") not in FLOATS or nd.attribute(node, "DstT") not in FLOATS:
        return None
    return ChannelOp(node, STAYS, layout, remark="behind a Cast")

"""Fusion 3: a multiplication or division by a single constant after a layer."""

from __future__ import annotations

from calibrant.fold.channel_op import SCALAR, ChannelOp
from calibrant.fold.constant_operand import factor
from calibrant.fold.layout import Layout
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef


def recognise(graph: Graph, node: NodeDef, index: int, layout: Layout) -> ChannelOp | None:
    """x · c, c · x or x / c with a constant of size 1."""
    scale = factor(graph, node, index, layout)
    return ChannelOp(node, SCALAR, layout, scale=scale[0]) if scale is not None and scale[1] else None

"""Fusion 7: adding a constant of the shape of a bias becomes the layer's BiasAdd."""

from __future__ import annotations

from calibrant.fold.channel_op import SHIFT, ChannelOp
from calibrant.fold.constant_operand import addend
from calibrant.fold.layout import Layout
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef


def recognise(graph: Graph, node: NodeDef, index: int, layout: Layout) -> ChannelOp | None:
    """BiasAdd, or Add, AddV2 and Sub of a constant with one value per channel or one value for all."""
    shift = addend(graph, node, index, layout)
    return None if shift is None else ChannelOp(node, SHIFT, layout, shift=shift)

"""A Transpose between a layer and its norm or bias, as models have that were made of channels-first ones."""

from __future__ import annotations

from calibrant.fold.channel_op import STAYS, ChannelOp
from calibrant.fold.layout import Layout
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef


def recognise(graph: Graph, node: NodeDef, index: int, layout: Layout) -> ChannelOp | None:
    """A Transpose after which the channels are first behind the batch, or last."""
    if node.op != "Transpose" or index != 0 or layout.split or layout.rank is None:
        return None
    order = graph.constant(nd.data_inputs(node)[1])
    if order is None or order.size != layout.rank:
        return None
    axes = [int(axis) % layout.rank for axis in order.reshape(-1)]
    axis = axes.index(layout.axis % layout.rank) - layout.rank
    if axis not in (-1, 1 - layout.rank):
        return None
    return ChannelOp(node, STAYS, Layout(layout.rank, axis, layout.channels), remark="behind a Transpose")

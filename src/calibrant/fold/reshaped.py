"""Fusion 5: a Reshape between a MatMul and its norm, which needs four axes; Squeeze and ExpandDims likewise.

A Reshape that spreads the channels over several axes, like the heads of an attention, is followed too: additions and
multiplications after it, with one value per channel, move before it.
"""

from __future__ import annotations

import math

from calibrant.fold.channel_op import STAYS, ChannelOp
from calibrant.fold.layout import Layout
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef


def recognise(graph: Graph, node: NodeDef, index: int, layout: Layout) -> ChannelOp | None:
    """A Reshape, Squeeze or ExpandDims after which the channels are still there, in their order."""
    if index != 0 or layout.axis != -1 or layout.split:
        return None
    if node.op == "Squeeze":
        changed = _squeezed(node, layout)
    elif node.op == "ExpandDims":
        changed = _expanded(graph, node, layout)
    elif node.op == "Reshape":
        changed = _reshaped(graph, node, layout.channels)
    else:
        return None
    if changed is None:
        return None
    return ChannelOp(node, STAYS, changed, remark=f"behind a {node.op}")


def _expanded(graph: Graph, node: NodeDef, layout: Layout) -> Layout | None:
    axis = graph.constant(nd.data_inputs(node)[1])
    if axis is None or axis.size != 1 or layout.rank is None or axis.item() % (layout.rank + 1) == layout.rank:
        return None
    return Layout(layout.rank + 1, -1, layout.channels)


def _squeezed(node: NodeDef, layout: Layout) -> Layout | None:
    axes = nd.attribute(node, "squeeze_dims") or []
    if not axes or layout.rank is None or any(axis % layout.rank == layout.rank - 1 for axis in axes):
        return None
    return Layout(layout.rank - len(axes), -1, layout.channels) if layout.rank - len(axes) >= 2 else None


def _reshaped(graph: Graph, node: NodeDef, channels: int) -> Layout | None:
    """The channels are contiguous in memory: they are in the last axes whose sizes multiply to their number.

    That is a single axis if all other axes have size 1.
    """
    shape = graph.shape(f"{node.name}:0")
    if shape is None or len(shape) < 2:
        return None
    before = graph.shape(nd.data_inputs(node)[0])
    whole = before is not None and before[-1] == channels
    for axis in range(-1, -len(shape) - 1, -1):
        if shape[axis] == channels and axis in (-1, 1 - len(shape)):
            return Layout(len(shape), axis, channels)
        if shape[axis] != 1:
            break
    for count in range(2, len(shape)):
        last = tuple(size for size in shape[-count:] if size is not None)
        if whole and len(last) == count and math.prod(last) == channels:
            return Layout(len(shape), -1, channels, last)
    return None

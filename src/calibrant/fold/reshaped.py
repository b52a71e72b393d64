"""Fusion 5: a Reshape between a MatMul and its norm, which wants four axes; Squeeze behind a Conv1D likewise."""

from __future__ import annotations

from tensorflow.core.framework.node_def_pb2 import NodeDef

from calibrant.fold.channel_op import STAYS, ChannelOp
from calibrant.fold.layout import Layout
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph


def recognise(graph: Graph, node: NodeDef, index: int, layout: Layout) -> ChannelOp | None:
    """A Reshape or Squeeze after which the channels are still one whole axis."""
    if index != 0 or layout.axis != -1:
        return None
    if node.op == "Squeeze":
        changed = _squeezed(node, layout)
    elif node.op == "Reshape":
        changed = _reshaped(graph, node, layout.channels)
    else:
        return None
    return None if changed is None else ChannelOp(node, STAYS, changed, remark=f"behind a {node.op}")


def _squeezed(node: NodeDef, layout: Layout) -> Layout | None:
    axes = nd.attribute(node, "squeeze_dims") or []
    if not axes or layout.rank is None or any(axis % layout.rank == layout.rank - 1 for axis in axes):
        return None
    return Layout(layout.rank - len(axes), -1, layout.channels) if layout.rank - len(axes) >= 2 else None


def _reshaped(graph: Graph, node: NodeDef, channels: int) -> Layout | None:
    """Channels run fastest in memory: they are an axis of their own where only axes of size 1 follow."""
    shape = graph.shape(f"{node.name}:0")
    if shape is None or len(shape) < 2:
        return None
    for axis in range(-1, -len(shape) - 1, -1):
        if shape[axis] == channels and axis in (-1, 1 - len(shape)):
            return Layout(len(shape), axis, channels)
        if shape[axis] != 1:
            return None
    return None

"""Fusion 2: BatchToSpaceND between a layer and its norm – the dilated convolution of TensorFlow 1.x.

It moves positions from the batch to the image and crops there. Channels keep their axis and their values, so that
operations on channels after it can as well be done in the layer.
"""

from __future__ import annotations

from calibrant.fold.channel_op import STAYS, ChannelOp
from calibrant.fold.layout import Layout
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef


def recognise(graph: Graph, node: NodeDef, index: int, layout: Layout) -> ChannelOp | None:
    """A BatchToSpaceND that leaves the axis of the channels unchanged."""
    if node.op != "BatchToSpaceND" or index != 0 or layout.rank is None or layout.split:
        return None
    tensors = nd.data_inputs(node)
    block, crops = (graph.constant(tensor) for tensor in tensors[1:3])
    axes = graph.shape(tensors[1])
    if axes is None or axes[0] is None:
        return None
    position = layout.rank + layout.axis - 1
    if position < axes[0] and (block is None or crops is None or block[position] != 1 or crops[position].any()):
        return None
    return ChannelOp(node, STAYS, layout, remark="of a dilated convolution")

"""Where folding starts: a layer whose weights can take factors in, alone or as one of a group convolution."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

import numpy as np
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.python.framework import dtypes

from calibrant.fold.layout import Layout, layout_for
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.layer_kinds import KINDS

SKIPPED = "skip_fusion_layers names it"


@dataclass(frozen=True)
class Branch:
    """A layer that feeds the chain, or another tensor beside layers.

    Parameters
    ----------
    layer, end : the layer, and the node behind it that the chain goes on from: the layer itself or its BiasAdd. None
        and the producer of the tensor where that is no layer.
    weight_input, weight_axes : input of the weights; their axes that count output channels, in that order.
    channels : number of output channels.
    bias : constant of its BiasAdd, [channels].
    tensor : what is read, where that is no layer.
    """

    layer: NodeDef | None
    end: NodeDef
    weight_input: int | None
    weight_axes: tuple[int, ...]
    channels: int
    bias: np.ndarray | None = None
    tensor: str = ""


@dataclass(frozen=True)
class FoldTarget:
    """The start of a chain.

    Parameters
    ----------
    branches : one layer, or what a concatenation reads, in the order of the channels.
    end : the layer, or the ConcatV2.
    layout : of the end's output.
    remark : the structure, for the fusion's name.
    """

    branches: tuple[Branch, ...]
    end: NodeDef
    layout: Layout
    remark: str = ""

    @property
    def is_partial(self) -> bool:
        """Whether it concatenates layers with something else."""
        return any(branch.layer is None for branch in self.branches)


def layer_head(graph: Graph, node: NodeDef, skip: Collection[str]) -> FoldTarget | str | None:
    """A layer with constant weights; the reason why it is left alone; None for other nodes."""
    kind = KINDS.get(node.op)
    if kind is None or kind.weight_input is None:
        return None
    if node.name in skip:
        return SKIPPED
    if dtype_of(node) not in (dtypes.float32, dtypes.float16):
        return f"it computes in {dtype_of(node).name}"
    reason = kind.condition(partial(nd.attribute, node))
    if reason:
        return reason
    shape = _constant_shape(graph, nd.data_inputs(node)[kind.weight_input])
    if shape is None:
        return "its weights are not constant"
    axes = kind.channel_axes or (1,)
    if len(shape) <= axes[-1] or (not kind.channel_axes and len(shape) != 2) or 0 in shape:
        return f"its weights of shape {list(shape)} have no output channels"
    channels = int(np.prod([shape[axis] for axis in axes]))
    if kind.rank is None:
        output = graph.shape(f"{node.name}:0")
        layout = Layout(None if output is None else len(output), -1, channels)
    else:
        layout = layout_for(nd.attribute(node, "data_format"), kind.rank, channels)
    if layout is None:
        return f"its data format is {nd.attribute(node, 'data_format')}"
    return FoldTarget((Branch(node, node, kind.weight_input, axes, channels),), node, layout)


def dtype_of(node: NodeDef) -> dtypes.DType:
    """The type of a layer's output; BatchMatMulV3 has one of its own for it."""
    return nd.attribute(node, "T") or nd.attribute(node, "Tout") or dtypes.float32


def _constant_shape(graph: Graph, tensor: str) -> tuple[int, ...] | None:
    source = graph.constant_source(tensor)
    if source is not None:
        return tuple(dim.size for dim in graph.nodes[source].attr["value"].tensor.tensor_shape.dim)
    value = graph.constant(tensor)
    return None if value is None else value.shape

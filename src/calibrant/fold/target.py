"""Where folding starts: a layer whose weights can absorb factors, alone or as part of a concatenation."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

import numpy as np

from calibrant.fold.layout import Layout, layout_for
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef, dtypes
from calibrant.layer_kinds import KINDS

SKIPPED = "skip_fusion_layers names it"


@dataclass(frozen=True)
class LayerBranch:
    """A layer that feeds the chain.

    Parameters
    ----------
    layer : NodeDef
        The layer.
    end : NodeDef
        The node that the chain continues from: the layer itself or its BiasAdd.
    weight_input : int
        Input index of the weights.
    weight_axes : tuple[int, ...]
        Axes of the weights that count output channels, in their order.
    channels : int
        Number of output channels.
    bias : np.ndarray | None
        Constant of its BiasAdd, float64 [channels]; None without one.
    """

    layer: NodeDef
    end: NodeDef
    weight_input: int
    weight_axes: tuple[int, ...]
    channels: int
    bias: np.ndarray | None = None


@dataclass(frozen=True)
class TensorBranch:
    """Another tensor that is concatenated with the outputs of layers.

    Parameters
    ----------
    tensor : str
        The tensor, ``node:index``.
    end : NodeDef
        Its producer.
    channels : int
        Its number of channels.
    """

    tensor: str
    end: NodeDef
    channels: int


@dataclass(frozen=True)
class FoldTarget:
    """The start of a chain.

    Parameters
    ----------
    branches : tuple[LayerBranch | TensorBranch, ...]
        One layer, or the operands of a concatenation, in the order of the channels.
    end : NodeDef
        The layer, or the ConcatV2.
    layout : Layout
        Layout of the end's output.
    remark : str
        The structure around the layer, for the fusion's name.
    """

    branches: tuple[LayerBranch | TensorBranch, ...]
    end: NodeDef
    layout: Layout
    remark: str = ""

    @property
    def is_partial(self) -> bool:
        """Whether it concatenates layers with other tensors."""
        return any(isinstance(branch, TensorBranch) for branch in self.branches)

    @property
    def has_bias(self) -> bool:
        """Whether a layer already has a BiasAdd that is part of the target."""
        return any(isinstance(branch, LayerBranch) and branch.bias is not None for branch in self.branches)


def layer_target(graph: Graph, node: NodeDef, skip: Collection[str]) -> FoldTarget | str | None:
    """A layer with constant weights; the reason why it is left unchanged; None for other nodes."""
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
        layout: Layout | None = Layout(None if output is None else len(output), -1, channels)
    else:
        layout = layout_for(nd.attribute(node, "data_format"), kind.rank, channels)
    if layout is None:
        return f"its data format is {nd.attribute(node, 'data_format')}"
    return FoldTarget((LayerBranch(node, node, kind.weight_input, axes, channels),), node, layout)


def dtype_of(node: NodeDef) -> dtypes.DType:
    """The type of a layer's output; BatchMatMulV3 has an attribute of its own for it."""
    return nd.attribute(node, "T") or nd.attribute(node, "Tout") or dtypes.float32


def _constant_shape(graph: Graph, tensor: str) -> nd.Shape | None:
    source = graph.constant_source(tensor)
    if source is not None:
        return tuple(dim.size for dim in graph.nodes[source].attr["value"].tensor.tensor_shape.dim)
    value = graph.constant(tensor)
    return None if value is None else value.shape

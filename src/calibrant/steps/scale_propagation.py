"""Where a division of a tensor's channels can go without an operation of its own: into constants further up.

The division is carried against the data flow. Operations that keep channels apart and commute with positive factors
hand it on to what they read; a constant factor, a norm's parameters or a layer's output channels take it in. It may
only pass tensors whose every reader wants it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from tensorflow.core.framework.node_def_pb2 import NodeDef

from calibrant.fold.layout import Layout, layout_for
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.layer_kinds import KINDS
from calibrant.graph.layers import Layer

NodeInput = tuple[str, int]
Wanted = tuple[NodeInput, Layout]

HOMOGENEOUS = frozenset({"Relu", "LeakyRelu", "Identity"})
POOLING = frozenset({"MaxPool", "AvgPool"})
SUMS = frozenset({"Add", "AddV2", "Sub"})
NORMS = frozenset({"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"})
ELEMENTWISE = SUMS | {"Mul", "RealDiv"}
_MOST_STEPS = 400


def input_layout(graph: Graph, layer: Layer, channels: int | None = None) -> Layout | None:
    """Where a layer's data input has its channels; None for a data format that is neither first nor last."""
    node = graph.nodes[layer.name]
    return _layer_layout(node, layer, channels or 0)


def constants_to_divide(
    graph: Graph, edge: NodeInput, layout: Layout, layers: Mapping[str, Layer]
) -> tuple[Wanted, ...] | None:
    """The constant operands whose division by a factor per channel divides what one input reads.

    Parameters
    ----------
    edge : node and input index that shall read a divided tensor; nobody else's input changes.
    layout : of that tensor.
    layers : the quantizable layers of the graph; one that shares its weights takes no division in.

    Returns
    -------
    The inputs that read the constants, each with the layout by which it is divided; None where there is no such set.
    """
    counts: dict[str | None, int] = {}
    for layer in layers.values():
        counts[layer.constant] = counts.get(layer.constant, 0) + 1
    single = {name: layer for name, layer in layers.items() if layer.constant and counts[layer.constant] == 1}
    chosen = _search(graph, ((edge, layout),), (), single, iter(range(_MOST_STEPS)))
    if chosen is None:
        return None
    return tuple(wanted for wanted in chosen if graph.constant(_read(graph, wanted[0])) is not None)


def divide_channels(value: np.ndarray, factors: np.ndarray, layout: Layout, layer: Layer | None) -> np.ndarray:
    """A constant divided per channel; ``layer`` is given where the constant is that layer's weights."""
    if layer is None:
        shape = factors.shape if value.ndim == 1 and value.size == layout.channels else channel_broadcast_shape(layout)
        return (value / factors.reshape(shape)).astype(value.dtype)
    axes = layer.channel_axes or (1,)
    shape = [size if axis in axes else 1 for axis, size in enumerate(value.shape)]
    return (value / factors.reshape(shape)).astype(value.dtype)


def channel_broadcast_shape(layout: Layout) -> tuple[int, ...]:
    """The shape by which one value per channel broadcasts against a tensor of the layout."""
    return (layout.channels, *(1,) * (-layout.axis - 1))


def _search(
    graph: Graph,
    pending: tuple[Wanted, ...],
    chosen: tuple[Wanted, ...],
    layers: Mapping[str, Layer],
    steps: Iterator[int],
) -> tuple[Wanted, ...] | None:
    """Depth first: the inputs that are divided when every pending one is; None where they cannot be."""
    if next(steps, None) is None:
        return None
    if not pending:
        return chosen if _every_reader_wants_it(graph, chosen) else None
    wanted, *rest = pending
    if wanted in chosen:
        return _search(graph, tuple(rest), chosen, layers, steps)
    edge, layout = wanted
    tensor = _read(graph, edge)
    chosen = (*chosen, wanted)
    if graph.constant(tensor) is not None:
        fits = _constant_fits(graph, edge, layout, layers)
        return _search(graph, tuple(rest), chosen, layers, steps) if fits else None
    for operands in _alternatives(graph, tensor, layout, layers):
        found = _search(graph, (*operands, *rest), chosen, layers, steps)
        if found is not None:
            return found
    return None


def _every_reader_wants_it(graph: Graph, chosen: tuple[Wanted, ...]) -> bool:
    edges = {edge for edge, _ in chosen}
    tensors = {_read(graph, edge) for edge in edges}
    return all(
        (node.name, index) in edges
        for tensor in tensors
        if graph.constant(tensor) is None
        for node, index in graph.consumers(tensor)
    )


def _constant_fits(graph: Graph, edge: NodeInput, layout: Layout, layers: Mapping[str, Layer]) -> bool:
    node, value = graph.nodes[edge[0]], graph.constant(_read(graph, edge))
    if value.dtype.kind != "f":
        return False
    if node.name in layers:
        return int(np.prod([value.shape[axis] for axis in layers[node.name].channel_axes or (1,)])) == layout.channels
    if node.op in ELEMENTWISE:
        return value.ndim < -layout.axis or value.shape[layout.axis] in (1, layout.channels)
    return value.shape == (layout.channels,)


def _alternatives(
    graph: Graph, tensor: str, layout: Layout, layers: Mapping[str, Layer]
) -> Iterator[tuple[Wanted, ...]]:
    """The sets of inputs of a tensor's producer of which one has to be divided so that the tensor is."""
    name, index = nd.split_tensor(tensor)
    node, shape = graph.nodes[name], graph.shape(tensor)
    if index != 0 or shape is None or len(shape) < -layout.axis or shape[layout.axis] != layout.channels:
        return
    if name in graph.output_nodes or name in graph.input_nodes or nd.attribute(node, "is_training", False):
        return
    layout = replace(layout, rank=len(shape))

    def inputs(*indices: int) -> tuple[Wanted, ...]:
        return tuple(((name, index), layout) for index in indices)

    if node.op in HOMOGENEOUS or (node.op in POOLING and _keeps_channels(node, layout)):
        yield inputs(0)
    elif node.op in SUMS or (node.op == "BiasAdd" and layout.agrees(nd.attribute(node, "data_format"))):
        yield inputs(0, 1)
    elif node.op == "RealDiv":
        yield inputs(0)
    elif node.op == "Mul":
        first = 0 if graph.constant(_read(graph, (name, 0))) is not None else 1
        yield inputs(first)
        yield inputs(1 - first)
    elif node.op in NORMS and layout.agrees(nd.attribute(node, "data_format")):
        yield inputs(1, 2)
    elif node.op == "Reshape":
        before = graph.shape(_read(graph, (name, 0)))
        if layout.axis == -1 and before and before[-1] == layout.channels:
            yield (((name, 0), replace(layout, rank=len(before))),)
    elif name in layers and _layer_layout(node, layers[name], layout.channels).axis == layout.axis:
        yield inputs(layers[name].weight_input)


def _layer_layout(node: NodeDef, layer: Layer, channels: int) -> Layout | None:
    kind = KINDS[layer.type]
    if not kind.spatial:
        return Layout(kind.rank, -1, channels)
    return layout_for(nd.attribute(node, "data_format"), kind.rank, channels)


def _keeps_channels(node: NodeDef, layout: Layout) -> bool:
    window, strides = nd.attribute(node, "ksize"), nd.attribute(node, "strides")
    return layout.agrees(nd.attribute(node, "data_format")) and window[layout.axis] == strides[layout.axis] == 1


def _read(graph: Graph, edge: NodeInput) -> str:
    return nd.data_inputs(graph.nodes[edge[0]])[edge[1]]

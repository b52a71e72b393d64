"""Divide a tensor's channels without an extra operation, by dividing constants upstream.

The division moves upstream. Operations that keep channels separate and commute with positive factors pass it to their
inputs; a constant factor, a norm's parameters or the output channels of a layer absorb it. It only passes tensors all
of whose readers are to be divided.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from calibrant.fold.layout import Layout, layout_for
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.layers import Layer
from calibrant.graph.node_input import NodeInput, read_tensor
from calibrant.graph.tf_core import NodeDef
from calibrant.layer_kinds import FUSED_NORMS, KINDS

Division = tuple[NodeInput, Layout]
"""An input that is to read a divided tensor, and the layout of the tensor."""

HOMOGENEOUS = frozenset({"Relu", "LeakyRelu", "Identity"})
"""Operations on single values that any positive factor passes."""
LAST_CHANNELS = frozenset({"Pad", "Mean"})
"""Operations that positive factors pass if they leave a last axis of channels alone."""
_MOST_STEPS = 400


def input_layout(graph: Graph, layer: Layer, channels: int | None = None) -> Layout | None:
    """Layout of a layer's data input; None for a data format that is neither channels first nor channels last."""
    node = graph.nodes[layer.name]
    return _layer_layout(node, layer, channels or 0)


def constants_to_divide(
    graph: Graph, place: NodeInput, layout: Layout, layers: Mapping[str, Layer], passed: frozenset[str]
) -> tuple[Division, ...] | None:
    """The constant operands whose division by a factor per channel divides the tensor that one input reads.

    All parameters are those of :func:`inputs_to_divide`.

    Returns
    -------
    tuple[tuple[NodeInput, Layout], ...] | None
        The inputs that read the constants, each with the layout by which it is divided; None if there is no such set.
    """
    chosen = inputs_to_divide(graph, place, layout, layers, passed)
    return None if chosen is None else constants_among(graph, chosen)


def constants_among(graph: Graph, divisions: Iterable[Division]) -> tuple[Division, ...]:
    """Those of some inputs that read constants."""
    return tuple(division for division in divisions if graph.constant(read_tensor(graph, division[0])) is not None)


def inputs_to_divide(
    graph: Graph, place: NodeInput, layout: Layout, layers: Mapping[str, Layer], passed: frozenset[str]
) -> tuple[Division, ...] | None:
    """All inputs that read something divided if one input does, up to the constants that are divided.

    Parameters
    ----------
    graph : Graph
        The graph; it is not changed.
    place : NodeInput
        The input that is to read a divided tensor; no other node's result changes.
    layout : Layout
        Layout of that tensor.
    layers : Mapping[str, Layer]
        The quantizable layers of the graph; one that shares its weights absorbs no division.
    passed : frozenset[str]
        Operations whose first input is divided instead; what of them is not in HOMOGENEOUS needs a look at the factors.

    Returns
    -------
    tuple[tuple[NodeInput, Layout], ...] | None
        The inputs, each with the layout by which it is divided; None if there is no such set.
    """
    return _Search(graph, with_own_weights(layers), passed).divide(((place, layout),), (), iter(range(_MOST_STEPS)))


def with_own_weights(layers: Mapping[str, Layer]) -> dict[str, Layer]:
    """The layers that share their constant weights with no other."""
    counts = Counter(layer.constant for layer in layers.values())
    return {name: layer for name, layer in layers.items() if layer.constant and counts[layer.constant] == 1}


def divide_channels(value: np.ndarray, factors: np.ndarray, layout: Layout, layer: Layer | None) -> np.ndarray:
    """A constant divided per channel; ``layer`` is given if the constant is that layer's weights."""
    if layer is None:
        shape = factors.shape if value.ndim == 1 and value.size == layout.channels else channel_broadcast_shape(layout)
        return (value / factors.reshape(shape)).astype(value.dtype)
    axes = layer.channel_axes or (1,)
    shape = tuple(size if axis in axes else 1 for axis, size in enumerate(value.shape))
    return (value / factors.reshape(shape)).astype(value.dtype)


def channel_broadcast_shape(layout: Layout) -> tuple[int, ...]:
    """The shape in which one value per channel broadcasts against a tensor of the layout."""
    return (layout.channels, *(1,) * (-layout.axis - 1))


@dataclass(frozen=True)
class _Search:
    graph: Graph
    layers: Mapping[str, Layer]
    passed: frozenset[str]

    def divide(
        self, pending: tuple[Division, ...], chosen: tuple[Division, ...], steps: Iterator[int]
    ) -> tuple[Division, ...] | None:
        """Depth first: the inputs that are divided if all pending ones are; None if they cannot be."""
        if next(steps, None) is None:
            return None
        if not pending:
            return chosen if _every_reader_is_divided(self.graph, chosen) else None
        division, *rest = pending
        if division in chosen:
            return self.divide(tuple(rest), chosen, steps)
        place, layout = division
        tensor = read_tensor(self.graph, place)
        chosen = (*chosen, division)
        if self.graph.constant(tensor) is not None:
            fits = _constant_fits(self.graph, place, layout, self.layers)
            return self.divide(tuple(rest), chosen, steps) if fits else None
        if not self._may_have_its_readers_divided(tensor, chosen[0][0]):
            return None
        for operands in _alternatives(self.graph, tensor, layout, self.layers, self.passed):
            divisions = self.divide((*operands, *rest), chosen, steps)
            if divisions is not None:
                return divisions
        return None

    def _may_have_its_readers_divided(self, tensor: str, first: NodeInput) -> bool:
        """Whether each reader is the first of all, or an operation that passes divisions to what it reads there."""
        return all(
            (node.name, index) == first or any(index in places for places in _operands(node.op, self.passed))
            for node, index in self.graph.consumers(tensor)
        )


def _every_reader_is_divided(graph: Graph, chosen: tuple[Division, ...]) -> bool:
    places = {place for place, _ in chosen}
    tensors = {read_tensor(graph, place) for place in places}
    return all(
        (node.name, index) in places
        for tensor in tensors
        if graph.constant(tensor) is None
        for node, index in graph.consumers(tensor)
    )


def _constant_fits(graph: Graph, place: NodeInput, layout: Layout, layers: Mapping[str, Layer]) -> bool:
    node, value = graph.nodes[place[0]], graph.require_constant(read_tensor(graph, place))
    if value.dtype.kind != "f":
        return False
    if node.name in layers:
        return int(np.prod([value.shape[axis] for axis in layers[node.name].channel_axes or (1,)])) == layout.channels
    if node.op in nd.BROADCAST_ARITHMETIC:
        return value.ndim < -layout.axis or value.shape[layout.axis] in (1, layout.channels)
    return value.shape == (layout.channels,)


def _alternatives(
    graph: Graph, tensor: str, layout: Layout, layers: Mapping[str, Layer], passed: frozenset[str]
) -> Iterator[tuple[Division, ...]]:
    """The sets of inputs of a tensor's producer; dividing any one set divides the tensor."""
    name, index = nd.split_tensor(tensor)
    node, shape = graph.nodes[name], graph.shape(tensor)
    if index != 0 or shape is None or len(shape) < -layout.axis or shape[layout.axis] != layout.channels:
        return
    if name in graph.output_nodes or name in graph.input_nodes or nd.attribute(node, "is_training", False):
        return
    layout = replace(layout, rank=len(shape))
    if name in layers:
        own = _layer_layout(node, layers[name], layout.channels)
        if own is not None and own.axis == layout.axis:
            yield ((layers[name].weights_place, layout),)
    elif node.op == "Reshape" or node.op in LAST_CHANNELS:
        before = graph.shape(read_tensor(graph, (name, 0)))
        keeps = node.op == "Reshape" or (node.op in passed and _keeps_last_axis(graph, node))
        if keeps and layout.axis == -1 and before and before[-1] == layout.channels:
            yield (((name, 0), replace(layout, rank=len(before))),)
    elif _agrees(node, layout):
        sets = _operands(node.op, passed)
        if node.op == "Mul":
            first = 0 if graph.constant(read_tensor(graph, (name, 0))) is not None else 1
            sets = ((first,), (1 - first,))
        for places in sets:
            yield tuple(((name, index), layout) for index in places)


def _operands(op: str, passed: frozenset[str]) -> tuple[tuple[int, ...], ...]:
    """The sets of an operation's inputs; dividing any one set may divide its result."""
    if op in passed or op in nd.POOLS or op in {"Reshape", "RealDiv"}:
        return ((0,),)
    if op in nd.SUMS or op == "BiasAdd":
        return ((0, 1),)
    if op == "Mul":
        return (0,), (1,)
    return ((1, 2),) if op in FUSED_NORMS else ()


def _agrees(node: NodeDef, layout: Layout) -> bool:
    """Whether an operation that knows the axis of the channels means that of the layout."""
    if node.op in nd.POOLS:
        return _keeps_channels(node, layout)
    return node.op not in FUSED_NORMS | {"BiasAdd"} or layout.agrees(nd.attribute(node, "data_format"))


def _layer_layout(node: NodeDef, layer: Layer, channels: int) -> Layout | None:
    kind = KINDS[layer.type]
    if kind.rank is None or not kind.spatial:
        return Layout(kind.rank, -1, channels)
    return layout_for(nd.attribute(node, "data_format"), kind.rank, channels)


def _keeps_channels(node: NodeDef, layout: Layout) -> bool:
    window, strides = nd.attribute(node, "ksize"), nd.attribute(node, "strides")
    return layout.agrees(nd.attribute(node, "data_format")) and window[layout.axis] == strides[layout.axis] == 1


def _keeps_last_axis(graph: Graph, node: NodeDef) -> bool:
    """Whether a Pad adds nothing along the last axis, and a Mean does not go over it."""
    before, setting = (
        graph.shape(read_tensor(graph, (node.name, 0))),
        graph.constant(read_tensor(graph, (node.name, 1))),
    )
    if not before or setting is None:
        return False
    if node.op == "Pad":
        return not setting[-1].any()
    return all(axis % len(before) != len(before) - 1 for axis in setting.reshape(-1).tolist())

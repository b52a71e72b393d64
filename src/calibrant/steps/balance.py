"""Step: balance activations against weights, channel by channel, before anything else is observed."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from calibrant.algorithms.channel_maximum import ChannelMaximum
from calibrant.algorithms.dmq import balance_factors
from calibrant.calibration.runner import CalibrationRunner
from calibrant.config.plan import Plan
from calibrant.data.open_data import Batches
from calibrant.errors import ConfigError, DataError, ModelError, Problem
from calibrant.fold.layout import Layout
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.layers import Layer, find_layers
from calibrant.graph.node_input import NodeInput, read_tensor
from calibrant.layer_kinds import KINDS
from calibrant.progress import ProgressFn, no_progress
from calibrant.steps.scale_propagation import (
    channel_broadcast_shape,
    constants_to_divide,
    divide_channels,
    input_layout,
)


@dataclass(frozen=True, eq=False)
class Balanced:
    """A graph with balanced layers; its outputs are unchanged up to rounding.

    Parameters
    ----------
    graph : Graph
        The balanced graph.
    layers : Mapping[str, Layer]
        Its layers by name.
    factors : Mapping[str, np.ndarray]
        Layer → float32 factors per input channel, by which its activations were divided.
    absorbed : Mapping[str, tuple[str, ...]]
        Layer → nodes upstream that absorbed the division; () if the division is an operation of its own.
    """

    graph: Graph
    layers: Mapping[str, Layer]
    factors: Mapping[str, np.ndarray] = field(default_factory=dict)
    absorbed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def balance(
    graph: Graph,
    layers: Mapping[str, Layer],
    plan: Plan,
    batches: Batches,
    track: ProgressFn = no_progress,
    runner: CalibrationRunner | None = None,
) -> Balanced:
    """Balance every layer that the plan gives a migration strength, with one pass over the data for all of them.

    Layers are balanced from the last to the first, so that weights that absorb the division for a later layer are
    balanced with their final values. Layers that share their weights and their strength are balanced as one, with the
    largest activation of any of them, and still share their weights.

    Raises
    ------
    DataError
        The data can be read only once; calibration reads them again.
    """
    strengths = {entry.name: entry.migration_strength for entry in plan.layers if entry.migration_strength is not None}
    if not strengths:
        return Balanced(graph, layers)
    if not batches.restartable:
        raise DataError(
            Problem(
                f"dmq_balancer needs the data twice, but they can be read only once ({batches.describe()})",
                hint="give files, arrays, or a function that returns a new iterator",
            )
        )
    maxima = ChannelMaxima.of(graph, [layers[name] for name in strengths])
    (runner or CalibrationRunner()).observe(graph, maxima.statistics, batches, track, "balancing")
    return balanced_by_maxima(graph, layers, strengths, maxima.by_layer())


def balanced_by_maxima(
    graph: Graph, layers: Mapping[str, Layer], strengths: Mapping[str, float], maxima: Mapping[str, np.ndarray]
) -> Balanced:
    """Balance the layers that have a migration strength; ``maxima`` holds max|x| per channel of their inputs."""
    work = _Work(graph, layers)
    factors: dict[str, np.ndarray] = {}
    for members in reversed(_groups(layers, strengths)):
        activations = np.max([maxima[member.name] for member in members], axis=0)
        common = work.balance(members, activations, strengths[members[0].name])
        factors.update({member.name: common for member in members})
    return work.result({name: factors[name] for name in strengths})


def balanced_by_factors(graph: Graph, layers: Mapping[str, Layer], factors: Mapping[str, np.ndarray]) -> Balanced:
    """Balance with known factors, one float32 per input channel; layers with common weights need the same ones.

    Raises
    ------
    ConfigError
        A layer cannot be balanced, or the number of its factors is not the number of its input channels.
    """
    problems = [
        problem for name, values in factors.items() if (problem := _unfit(graph, layers[name], values)) is not None
    ]
    if problems:
        raise ConfigError(*problems)
    work = _Work(graph, layers)
    for members in reversed(_groups(layers, {name: values.tobytes() for name, values in factors.items()})):
        work.apply(members, factors[members[0].name])
    return work.result(factors)


def _unfit(graph: Graph, layer: Layer, factors: np.ndarray) -> Problem | None:
    layout = input_layout(graph, layer)
    if layer.reduced_axis is None or layer.constant is None or layout is None:
        return Problem("cannot be balanced", path=layer.name, allowed="layers with constant weights")
    tensor = read_tensor(graph, (layer.name, layer.data_inputs[0]))
    channels = (graph.shape(tensor) or ())[layout.axis :][:1]
    if channels and channels[0] is not None and channels[0] != factors.size:
        message = f"{factors.size} balance factors, but the layer reads {channels[0]} channels"
        return Problem(message, path=layer.name, allowed="one tensor_balance_factor per input channel")
    return None


@dataclass(frozen=True, eq=False)
class ChannelMaxima:
    """max|x| per input channel of several layers; layers that read the same tensor share the statistic.

    Parameters
    ----------
    statistics : Mapping[str, Sequence[Any]]
        Tensor → its statistics, still empty.
    """

    statistics: Mapping[str, Sequence[Any]]
    _places: Mapping[str, tuple[str, int]]

    @classmethod
    def of(cls, graph: Graph, layers: Sequence[Layer]) -> ChannelMaxima:
        """Empty statistics for these layers."""
        places = _channel_places(graph, layers)
        by_tensor: dict[str, list[ChannelMaximum]] = {}
        for tensor, axis in dict.fromkeys(places.values()):
            by_tensor.setdefault(tensor, []).append(ChannelMaximum(axis))
        return cls(by_tensor, places)

    def by_layer(self) -> dict[str, np.ndarray]:
        """Layer → observed max|x| per input channel, float32."""
        entries = {(tensor, entry.axis): entry for tensor, group in self.statistics.items() for entry in group}
        return {name: entries[place].maximum for name, place in self._places.items()}


def _channel_places(graph: Graph, layers: Sequence[Layer]) -> dict[str, tuple[str, int]]:
    """Layer → the tensor that it reads and the axis of its channels."""
    places = {}
    for layer in layers:
        layout = _balanced_layout(graph, layer)
        places[layer.name] = (read_tensor(graph, (layer.name, layer.data_inputs[0])), layout.axis)
    return places


def _balanced_layout(graph: Graph, layer: Layer, channels: int | None = None) -> Layout:
    """Layout of the input of a layer that is balanced."""
    layout = input_layout(graph, layer, channels)
    if layout is None:
        raise ModelError(
            Problem("has a data format that cannot be balanced", file=graph.source, path=layer.name, allowed="NHWC")
        )
    return layout


def _groups(layers: Mapping[str, Layer], strengths: Mapping[str, Hashable]) -> list[list[Layer]]:
    """The layers to balance, those with common weights and strength together; in the order of each group's last."""
    groups: dict[tuple[object, ...], list[Layer]] = {}
    for name, strength in strengths.items():
        layer = layers[name]
        key = (layer.constant, layer.type, strength)
        groups[key] = [*groups.pop(key, []), layer]
    return list(groups.values())


class _Work:
    """The constants that change while layers are balanced one by one; the structure of the graph stays."""

    def __init__(self, graph: Graph, layers: Mapping[str, Layer]):
        self.graph, self.layers = graph, layers
        self.absorbed: dict[str, tuple[str, ...]] = {}
        self._constants: dict[NodeInput, tuple[int, np.ndarray]] = {}
        self._muls: list[tuple[Layer, np.ndarray]] = []
        self._next = 0

    def balance(self, members: Sequence[Layer], activations: np.ndarray, strength: float) -> np.ndarray:
        """Multiply the common weights of layers and divide their inputs; returns the factors."""
        weights = self._value(members[0].weights_place)
        channel = channel_of_weights(weights.shape, KINDS[members[0].type].weights.reduced_axis, activations.size)
        reduced = tuple(axis for axis, size in enumerate(channel.shape) if size == 1)
        largest = np.zeros(activations.shape, np.float32)
        np.maximum.at(largest, channel, np.abs(weights).max(axis=reduced, keepdims=True).astype(np.float32))
        factors = balance_factors(activations, largest, strength)
        self.apply(members, factors)
        return factors

    def apply(self, members: Sequence[Layer], factors: np.ndarray) -> None:
        """Multiply the common weights of layers by factors, and divide their inputs."""
        places = [layer.weights_place for layer in members]
        weights = self._value(places[0])
        channel = channel_of_weights(weights.shape, KINDS[members[0].type].weights.reduced_axis, factors.size)
        self._put(places, (weights * factors[channel]).astype(weights.dtype))
        for layer in reversed(members):
            self._divide(layer, factors)

    def _divide(self, layer: Layer, factors: np.ndarray) -> None:
        place = (layer.name, layer.data_inputs[0])
        layout = _balanced_layout(self.graph, layer, factors.size)
        divisions = constants_to_divide(self.graph, place, layout, self.layers)
        if divisions is None:
            self._muls.append((layer, factors))
            self.absorbed[layer.name] = ()
            return
        for place, layout in divisions:
            producer = self.layers.get(place[0])
            owner = producer if producer is not None and place[1] == producer.weight_input else None
            self._put([place], divide_channels(self._value(place), factors, layout, owner))
        self.absorbed[layer.name] = tuple(dict.fromkeys(place[0] for place, _ in divisions))

    def _value(self, place: NodeInput) -> np.ndarray:
        if place in self._constants:
            return self._constants[place][1]
        return self.graph.require_constant(read_tensor(self.graph, place))

    def _put(self, places: Sequence[NodeInput], value: np.ndarray) -> None:
        self._next += 1
        for place in places:
            self._constants[place] = (self._next, value)

    def result(self, factors: Mapping[str, np.ndarray]) -> Balanced:
        """The balanced graph and its layers."""
        balanced = self.finish()
        layers = {layer.name: layer for layer in find_layers(balanced)[0]}
        return Balanced(balanced, layers, factors, self.absorbed)

    def finish(self) -> Graph:
        """The graph with the new constants, and a Mul for each division that no constant upstream absorbs."""
        edit = self.graph.edit()
        placed: dict[int, str] = {}
        for place, (number, value) in self._constants.items():
            if number not in placed:
                placed[number] = _add_constant(edit, place, value)
            edit.set_input(*place, placed[number])
        shared: dict[tuple[str, bytes], str] = {}
        for layer, factors in reversed(self._muls):
            place = (layer.name, layer.data_inputs[0])
            tensor = read_tensor(self.graph, place)
            key = (tensor, factors.tobytes())
            if key not in shared:
                dtype = self.graph.dtype(tensor)
                shape = channel_broadcast_shape(_balanced_layout(self.graph, layer, factors.size))
                inverse = (np.float32(1) / factors).reshape(shape).astype(dtype.as_numpy_dtype)
                constant = edit.add_constant(f"{layer.name}/balance/inverse_factors", inverse)
                shared[key] = edit.add("Mul", f"{layer.name}/balance/divided", [tensor, constant], T=dtype)
            edit.set_input(*place, shared[key])
        return edit.finish()


def channel_of_weights(shape: Sequence[int], reduced_axis: int, channels: int) -> np.ndarray:
    """Which input channel each weight reads; int array that broadcasts against weights of that shape.

    A grouped convolution has fewer weights along ``reduced_axis`` than the data have channels: its last axis, the
    output channels, is then split into as many groups, each of which reads the next channels.
    """
    per_group = shape[reduced_axis]
    index = np.arange(per_group).reshape([-1 if axis == reduced_axis else 1 for axis in range(len(shape))])
    if per_group == channels:
        return index
    group = np.arange(shape[-1]) // (shape[-1] * per_group // channels)
    return index + group * per_group


def _add_constant(edit: Edit, place: NodeInput, value: np.ndarray) -> str:
    """A new constant for one input, with the control inputs of the old one (loop frames)."""
    node = nd.constant_node(edit.free_name(f"{place[0]}/balanced_{place[1]}"), value)
    source = edit.graph.constant_source(read_tensor(edit.graph, place))
    if source is not None:
        node.input.extend(f"^{control}" for control in nd.control_inputs(edit.graph.nodes[source]))
    return edit.put(node)

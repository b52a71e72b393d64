"""The constants of a graph while its layers are balanced, one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from calibrant.algorithms.dmq import balance_factors
from calibrant.errors import ModelError, Problem
from calibrant.fold.layout import Layout
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.layers import Layer
from calibrant.graph.node_input import NodeInput, read_tensor
from calibrant.layer_kinds import KINDS
from calibrant.steps.balancing.scale_propagation import (
    HOMOGENEOUS,
    channel_broadcast_shape,
    constants_to_divide,
    divide_channels,
    input_layout,
)

LARGEST = float(np.finfo(np.float32).max)


class BalancedConstants:
    """The constants that change while layers are balanced one by one; the structure of the graph stays.

    Parameters
    ----------
    graph : Graph
        The network.
    layers : Mapping[str, Layer]
        Its layers by name.
    passed : frozenset[str]
        Operations through which divisions may move upstream.
    """

    def __init__(self, graph: Graph, layers: Mapping[str, Layer], passed: frozenset[str] = HOMOGENEOUS):
        self.graph, self.layers, self.passed = graph, layers, passed
        self.absorbed: dict[str, tuple[str, ...]] = {}
        self._constants: dict[NodeInput, tuple[int, np.ndarray]] = {}
        self._muls: list[tuple[Layer, np.ndarray]] = []
        self._next = 0

    def balance(self, members: Sequence[Layer], activations: np.ndarray, strength: float) -> np.ndarray:
        """Multiply the common weights of layers and divide their inputs; returns the factors.

        Raises
        ------
        ModelError
            Weights are NaN or infinite.
        """
        weights = self._value(members[0].weights_place)
        channel = channel_of_weights(weights.shape, KINDS[members[0].type].weights.reduced_axis, activations.size)
        largest = largest_by_channel(np.abs(weights), channel, activations.size).astype(np.float32)
        if not np.isfinite(largest).all():
            message = "weights contain NaN or infinity"
            raise ModelError(Problem(message, file=self.graph.source, path=members[0].name))
        factors = balance_factors(activations, largest, strength)
        limit = _largest_of(weights.dtype)
        ends = np.divide(limit, largest, out=np.full(largest.shape, limit), where=largest > 1)
        factors = np.minimum(factors, ends).astype(np.float32)
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
        layout = balanced_layout(self.graph, layer, factors.size)
        divisions = constants_to_divide(self.graph, place, layout, self.layers, self.passed)
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
                shape = channel_broadcast_shape(balanced_layout(self.graph, layer, factors.size))
                inverse = (np.float32(1) / factors).reshape(shape).astype(dtype.as_numpy_dtype)
                constant = edit.add_constant(f"{layer.name}/balance/inverse_factors", inverse)
                shared[key] = edit.add("Mul", f"{layer.name}/balance/divided", [tensor, constant], T=dtype)
            edit.set_input(*place, shared[key])
        return edit.finish()


def _largest_of(dtype: np.dtype) -> float:
    """The largest weight that a type holds, in float32."""
    return min(LARGEST, float(np.finfo(dtype).max)) if np.issubdtype(dtype, np.floating) else LARGEST


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


def largest_by_channel(magnitudes: np.ndarray, channel: np.ndarray, channels: int) -> np.ndarray:
    """The largest of the weights that read each input channel, (channels,); ``channel`` says which one each reads."""
    reduced = tuple(axis for axis, size in enumerate(channel.shape) if size == 1)
    largest = np.zeros(channels, magnitudes.dtype)
    np.maximum.at(largest, channel, magnitudes.max(axis=reduced, keepdims=True))
    return largest


def _add_constant(edit: Edit, place: NodeInput, value: np.ndarray) -> str:
    """A new constant for one input, with the control inputs of the old one (loop frames)."""
    node = nd.constant_node(edit.free_name(f"{place[0]}/balanced_{place[1]}"), value)
    source = edit.graph.constant_source(read_tensor(edit.graph, place))
    if source is not None:
        node.input.extend(f"^{control}" for control in nd.control_inputs(edit.graph.nodes[source]))
    return edit.put(node)


def balanced_layout(graph: Graph, layer: Layer, channels: int | None = None) -> Layout:
    """Layout of the input of a layer that is balanced."""
    layout = input_layout(graph, layer, channels)
    if layout is None:
        raise ModelError(
            Problem("has a data format that cannot be balanced", file=graph.source, path=layer.name, allowed="NHWC")
        )
    return layout

"""Step: balance activations against weights, channel by channel, before anything else is observed."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from calibrant.algorithms.channel_extremes import ChannelMaximum
from calibrant.calibration.runner import CalibrationRunner
from calibrant.config.plan import Plan
from calibrant.data.open_data import Batches
from calibrant.errors import ConfigError, DataError, Problem
from calibrant.graph.graph import Graph
from calibrant.graph.layers import Layer, find_layers
from calibrant.graph.node_input import NodeInput, read_tensor
from calibrant.progress import ProgressFn, no_progress
from calibrant.steps.balancing.balanced_constants import BalancedConstants, balanced_layout
from calibrant.steps.balancing.scale_propagation import input_layout


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
    require_restartable(batches, "dmq_balancer")
    maxima = ChannelMaxima.of(graph, [layers[name] for name in strengths])
    (runner or CalibrationRunner()).observe(graph, maxima.statistics, batches, track, "balancing")
    return balanced_by_maxima(graph, layers, strengths, maxima.by_layer())


def balanced_by_maxima(
    graph: Graph, layers: Mapping[str, Layer], strengths: Mapping[str, float], maxima: Mapping[str, np.ndarray]
) -> Balanced:
    """Balance the layers that have a migration strength; ``maxima`` holds max|x| per channel of their inputs."""
    work = BalancedConstants(graph, layers)
    factors: dict[str, np.ndarray] = {}
    for members in reversed(_groups(layers, strengths)):
        activations = np.max([maxima[member.name] for member in members], axis=0)
        common = work.balance(members, activations, strengths[members[0].name])
        factors.update({member.name: common for member in members})
    return _result(work, {name: factors[name] for name in strengths})


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
    work = BalancedConstants(graph, layers)
    for members in reversed(_groups(layers, {name: values.tobytes() for name, values in factors.items()})):
        work.apply(members, factors[members[0].name])
    return _result(work, factors)


def _result(work: BalancedConstants, factors: Mapping[str, np.ndarray]) -> Balanced:
    balanced = work.finish()
    layers = {layer.name: layer for layer in find_layers(balanced)[0]}
    return Balanced(balanced, layers, factors, work.absorbed)


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


def require_restartable(batches: Batches, what: str) -> None:
    """Data can be read once before they calibrate.

    Parameters
    ----------
    batches : Batches
        The data.
    what : str
        What reads them, for the error.

    Raises
    ------
    DataError
        They can be read only once.
    """
    if not batches.restartable:
        message = f"{what} needs the data twice, but they can be read only once ({batches.describe()})"
        raise DataError(Problem(message, hint="give files, arrays, or a function that returns a new iterator"))


"""A tensor, and the axis of its channels."""


@dataclass(frozen=True, eq=False)
class ChannelMaxima:
    """max|x| per channel of several tensors; layers that read the same tensor share the statistic.

    Parameters
    ----------
    statistics : Mapping[str, Sequence[Any]]
        Tensor → its statistics, still empty.
    """

    statistics: Mapping[str, Sequence[Any]]
    _places: Mapping[str, NodeInput] = field(default_factory=dict)

    @classmethod
    def at(cls, places: Iterable[NodeInput]) -> ChannelMaxima:
        """Empty statistics for these places."""
        by_tensor: dict[str, list[ChannelMaximum]] = {}
        for tensor, axis in dict.fromkeys(places):
            by_tensor.setdefault(tensor, []).append(ChannelMaximum(axis))
        return cls(by_tensor)

    @classmethod
    def of(cls, graph: Graph, layers: Sequence[Layer]) -> ChannelMaxima:
        """Empty statistics for the inputs of these layers."""
        places = _channel_places(graph, layers)
        return replace(cls.at(places.values()), _places=places)

    def by_place(self) -> dict[NodeInput, np.ndarray]:
        """Place → observed max|x| per channel, float32.

        Raises
        ------
        DataError
            The data show no value of a tensor.
        """
        unseen = [tensor for tensor, group in self.statistics.items() if any(entry.is_empty for entry in group)]
        if unseen:
            hint = "give samples for which it has some, or leave the layers that read it in float (skip_layers)"
            message = "no calibration sample has a value of it"
            raise DataError(*(Problem(message, path=tensor, hint=hint) for tensor in unseen))
        return {(tensor, entry.axis): entry.maximum for tensor, group in self.statistics.items() for entry in group}

    def by_layer(self) -> dict[str, np.ndarray]:
        """Layer → observed max|x| per input channel, float32."""
        found = self.by_place()
        return {name: found[place] for name, place in self._places.items()}


def _channel_places(graph: Graph, layers: Sequence[Layer]) -> dict[str, NodeInput]:
    """Layer → the tensor that it reads and the axis of its channels."""
    places = {}
    for layer in layers:
        layout = balanced_layout(graph, layer)
        places[layer.name] = (read_tensor(graph, (layer.name, layer.data_inputs[0])), layout.axis)
    return places


def _groups(layers: Mapping[str, Layer], strengths: Mapping[str, Hashable]) -> list[list[Layer]]:
    """The layers to balance, those with common weights and strength together; in the order of each group's last."""
    groups: dict[tuple[object, ...], list[Layer]] = {}
    for name, strength in strengths.items():
        layer = layers[name]
        key = (layer.constant, layer.type, strength)
        groups[key] = [*groups.pop(key, []), layer]
    return list(groups.values())

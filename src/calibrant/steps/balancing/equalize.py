"""Step: equalize the channels between layers, without any operation added.

A factor per channel divides what one layer gives and multiplies the weights of the next. Between them there may be what
factors pass: Relu, poolings, zeros around the edges; and Relu6 as far as the data show that it clips the same values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from calibrant.algorithms.equalization import LARGEST_FACTOR, SMALLEST_FACTOR, equalizing_factors, within_clips
from calibrant.calibration.runner import CalibrationRunner
from calibrant.config.plan import LayerPlan
from calibrant.data.open_data import Batches
from calibrant.fold.layout import Layout
from calibrant.graph.graph import Graph
from calibrant.graph.layers import Layer, find_layers
from calibrant.graph.node_input import NodeInput, read_tensor
from calibrant.layer_kinds import KINDS
from calibrant.progress import LOG, ProgressFn, no_progress
from calibrant.steps.balancing.balance import ChannelMaxima, require_restartable
from calibrant.steps.balancing.balanced_constants import BalancedConstants, channel_of_weights, largest_by_channel
from calibrant.steps.balancing.scale_propagation import (
    HOMOGENEOUS,
    LAST_CHANNELS,
    Division,
    constants_among,
    divide_channels,
    input_layout,
    inputs_to_divide,
    with_own_weights,
)
from calibrant.steps.planned import Planned

PASSED = HOMOGENEOUS | LAST_CHANNELS | {"Relu6"}
CLIP = 6.0
ROUNDS, SMALL_CHANGE = 10, 0.01
"""Most rounds over all pairs, and the change of a factor (of its logarithm) that needs no further one."""


@dataclass(frozen=True, eq=False)
class Pair:
    """A layer, and what the factors of its input channels divide.

    Parameters
    ----------
    layer : Layer
        Its weights are multiplied.
    tensor : str
        What it reads.
    layout : Layout
        Of that tensor.
    divisions : tuple[Division, ...]
        The constants that are divided.
    clips : tuple[NodeInput, ...]
        The tensors behind a Relu6 on the way, and their axes of channels.
    """

    layer: Layer
    tensor: str
    layout: Layout
    divisions: tuple[Division, ...]
    clips: tuple[NodeInput, ...]


def equalize(
    planned: Planned, batches: Batches, track: ProgressFn = no_progress, runner: CalibrationRunner | None = None
) -> Planned:
    """The network with equalized channels, wherever that takes no further operation; one pass over the data.

    Parameters
    ----------
    planned : Planned
        The folded network.
    batches : Batches
        Calibration data, restartable.
    track : ProgressFn
        Shows progress.
    runner : CalibrationRunner | None
        Runs the network.

    Raises
    ------
    DataError
        The data can be read only once; calibration reads them again.
    """
    require_restartable(batches, "equalizing")
    graph, layers = planned.folded.graph, planned.layers
    plans = {plan.name: plan for plan in planned.plan.layers}
    pairs = find_pairs(graph, layers, plans)
    LOG.info("equalize: %d of %d layers can be", len(pairs), len(plans))
    if not pairs:
        return planned
    places = {(pair.tensor, pair.layout.axis) for pair in pairs}.union(*(pair.clips for pair in pairs))
    maxima = ChannelMaxima.at(sorted(places))
    (runner or CalibrationRunner()).observe(graph, maxima.statistics, batches, track, "equalizing")
    largest = {place: maximum.astype(np.float64) for place, maximum in maxima.by_place().items()}
    factors = equalizing(graph, layers, plans, pairs, largest)
    work = BalancedConstants(graph, layers, PASSED)
    for pair in pairs:
        work.apply([pair.layer], factors[pair.layer.name])
    equalized = work.finish()
    found = {layer.name: layer for layer in find_layers(equalized)[0]}
    return replace(planned, folded=replace(planned.folded, graph=equalized), layers=found)


def find_pairs(graph: Graph, layers: Mapping[str, Layer], plans: Mapping[str, LayerPlan]) -> list[Pair]:
    """The layers whose input can be divided by constants alone, where they or the layers before are quantized."""
    pairs = []
    for layer in with_own_weights(layers).values():
        pair = None if layer.reduced_axis is None else _pair(graph, layer, layers)
        if pair and (layer.name in plans or any(place[0] in plans for place, _ in pair.divisions)):
            pairs.append(pair)
    return pairs


def _pair(graph: Graph, layer: Layer, layers: Mapping[str, Layer]) -> Pair | None:
    place = (layer.name, layer.data_inputs[0])
    tensor = read_tensor(graph, place)
    layout = input_layout(graph, layer)
    channels = None if layout is None else (graph.shape(tensor) or ())[layout.axis :][:1]
    if layout is None or not channels or channels[0] is None:
        return None
    layout = replace(layout, channels=channels[0])
    divided = inputs_to_divide(graph, place, layout, layers, PASSED)
    if divided is None:
        return None
    constants = constants_among(graph, divided)
    clips = tuple((f"{node}:0", own.axis) for (node, _), own in divided if graph.nodes[node].op == "Relu6")
    return Pair(layer, tensor, layout, constants, clips)


def equalizing(
    graph: Graph,
    layers: Mapping[str, Layer],
    plans: Mapping[str, LayerPlan],
    pairs: Sequence[Pair],
    largest: Mapping[NodeInput, np.ndarray],
) -> dict[str, np.ndarray]:
    """Layer → the float32 factors of its input channels.

    Parameters
    ----------
    graph : Graph
        The network.
    layers : Mapping[str, Layer]
        Its layers by name.
    plans : Mapping[str, LayerPlan]
        The settings of those that are quantized.
    pairs : Sequence[Pair]
        What is equalized.
    largest : Mapping[NodeInput, np.ndarray]
        Tensor and axis of a pair or a clip → largest magnitude per channel.
    """
    weights = _Magnitudes(graph, layers, plans)
    factors = {pair.layer.name: np.ones(pair.layout.channels) for pair in pairs}
    for _ in range(ROUNDS):
        change = 0.0
        for pair in pairs:
            present = factors[pair.layer.name]
            before = [weights.given(place, own) for place, own in pair.divisions if weights.counts_before(place)]
            if pair.layer.name in plans or not before:
                before.append(largest[pair.tensor, pair.layout.axis] / present)
            wished = present * equalizing_factors(before, weights.read(pair))
            if pair.clips:
                reached = np.max([largest[clip] for clip in pair.clips], axis=0)
                wished = within_clips(wished, reached, CLIP)
            else:
                wished = np.clip(wished / np.exp(np.log(wished).mean()), SMALLEST_FACTOR, LARGEST_FACTOR)
            step = wished / present
            factors[pair.layer.name] = wished
            weights.move(pair, step)
            change = max(change, float(np.abs(np.log(step)).max()))
        if change < SMALL_CHANGE:
            break
    return {name: values.astype(np.float32) for name, values in factors.items()}


class _Magnitudes:
    """The magnitudes of all weights while factors move between them."""

    def __init__(self, graph: Graph, layers: Mapping[str, Layer], plans: Mapping[str, LayerPlan]):
        self._graph, self._layers, self._plans = graph, layers, plans
        self._values: dict[str, np.ndarray] = {}

    def counts_before(self, place: NodeInput) -> bool:
        """Whether a divided constant is weights with one range for all output channels."""
        layer, plan = self._layers.get(place[0]), self._plans.get(place[0])
        if layer is None or plan is None or plan.weights is None or place[1] != layer.weight_input:
            return False
        return not (plan.weights.channel_wise and layer.channel_axes)

    def given(self, place: NodeInput, layout: Layout) -> np.ndarray:
        """Largest magnitude of the weights for each output channel."""
        values, axes = self._of(place[0]), self._layers[place[0]].channel_axes or (1,)
        others = tuple(axis for axis in range(values.ndim) if axis not in axes)
        return values.max(axis=others).reshape(layout.channels)

    def read(self, pair: Pair) -> np.ndarray | None:
        """Largest magnitude of the weights that read each channel; None where each channel has a range of its own."""
        layer, plan = pair.layer, self._plans.get(pair.layer.name)
        if plan is None or plan.weights is None:
            return None
        if plan.weights.channel_wise and layer.reduced_axis in layer.channel_axes:
            return None
        return largest_by_channel(self._of(layer.name), self._channel(pair), pair.layout.channels)

    def move(self, pair: Pair, factors: np.ndarray) -> None:
        """Multiply the weights of a pair's layer, and divide those before it."""
        self._values[pair.layer.name] = self._of(pair.layer.name) * factors[self._channel(pair)]
        for place, layout in pair.divisions:
            owner = self._layers.get(place[0])
            if owner is not None and place[1] == owner.weight_input:
                self._values[owner.name] = divide_channels(self._of(owner.name), factors, layout, owner)

    def _channel(self, pair: Pair) -> np.ndarray:
        shape = self._of(pair.layer.name).shape
        return channel_of_weights(shape, KINDS[pair.layer.type].weights.reduced_axis, pair.layout.channels)

    def _of(self, name: str) -> np.ndarray:
        if name not in self._values:
            tensor = read_tensor(self._graph, self._layers[name].weights_place)
            self._values[name] = np.abs(self._graph.require_constant(tensor)).astype(np.float64)
        return self._values[name]

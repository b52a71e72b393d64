"""Step: search the parameters in what was observed, and put together the quantized network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.algorithms.search_result import SearchResult
from calibrant.config.plan import ActivationPlan
from calibrant.emit.tflite.conversion.float_file import FloatFile
from calibrant.graph.node_input import NodeInput, read_tensor
from calibrant.progress import Stopwatch
from calibrant.quantized_network import ChannelWeights, QuantizedInput, QuantizedLayer, QuantizedNetwork, RangeMove
from calibrant.steps.prepared import Prepared
from calibrant.steps.ranges.activations import search_all
from calibrant.steps.ranges.counted_ranges import with_counted_ranges
from calibrant.steps.ranges.exact_scales import with_exact_scales
from calibrant.steps.ranges.float16_scales import refuse_float16_scales
from calibrant.steps.ranges.intermediate_tensors import search_intermediate, without_codes
from calibrant.steps.ranges.norms import wide_reciprocals
from calibrant.steps.ranges.positive_results import least_corrections
from calibrant.steps.ranges.range_moves import range_moves
from calibrant.steps.ranges.unseen import check_seen
from calibrant.steps.weights.bias_correction import bias_corrections
from calibrant.steps.weights.bias_range import with_held_biases
from calibrant.steps.weights.quantize_weights import LayerWeights, bias_of
from calibrant.steps.weights.round_products import with_rounded_products
from calibrant.steps.weights.round_weights import with_rounded_weights
from calibrant.steps.weights.weight_only import with_weight_only

HalfSearch = Mapping[tuple[NodeInput, ActivationPlan], QuantizedInput]
"""Place and settings → what was found in the first half of the data."""


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A calibrated network.

    Parameters
    ----------
    prepared : Prepared
        The plan, and what was observed.
    network : QuantizedNetwork
        With the parameters that were found in it.
    moves : tuple[RangeMove, ...]
        How far the ranges moved in the second half of the data, where that was looked at.
    half : HalfSearch
        What was found in the first half.
    unrefined : str | None
        Why refining was left out where nobody asked for it; None otherwise.
    """

    prepared: Prepared
    network: QuantizedNetwork
    moves: tuple[RangeMove, ...] = ()
    half: HalfSearch = field(default_factory=dict)
    unrefined: str | None = None


def search_parameters(prepared: Prepared, watch: Stopwatch, half: HalfSearch | None = None) -> Calibrated:
    """Round the weights, and search the parameters.

    Parameters
    ----------
    prepared : Prepared
        The plan, and what was observed.
    watch : Stopwatch
        Counts the time.
    half : HalfSearch | None
        What was found in the first half of the data.
    """
    with watch.step("round weights"):
        prepared = with_rounding(prepared)
    with watch.step("search"):
        return searched(prepared, half or {})


def searched(prepared: Prepared, half: HalfSearch) -> Calibrated:
    """Search the parameters, by the plan as it is.

    Parameters
    ----------
    prepared : Prepared
        The plan, and what was observed, with rounded weights.
    half : HalfSearch
        What was found in the first half of the data.
    """
    network = observed_network(prepared)
    places = network.inputs_by_place()
    by_plan = {place: half[place, plan] for place, plan in prepared.places.items() if (place, plan) in half}
    return Calibrated(prepared, network, range_moves(by_plan, places, prepared.histograms), half)


def observed_network(prepared: Prepared) -> QuantizedNetwork:
    """Search scales and offsets in what was observed, and put together what is known of every layer.

    Raises
    ------
    DataError
        The data show no value of what a layer reads.
    """
    check_seen(prepared.graph, prepared.places, prepared.histograms)
    activations = search_all(prepared.graph, prepared.places, prepared.histograms, prepared.plan.groups)
    return with_activations(prepared, activations, searched_between(prepared, activations))


def searched_between(prepared: Prepared, activations: Mapping[NodeInput, QuantizedInput]) -> dict[str, SearchResult]:
    """The scales of tensors between layers, of those of which the data show a value.

    Parameters
    ----------
    prepared : Prepared
        The plan, and what was observed.
    activations : Mapping[NodeInput, QuantizedInput]
        (node, input index) → quantized activation, for every place that gets a quantizer.
    """
    between = {tensor: whole for tensor, whole in prepared.intermediate.items() if prepared.histograms[tensor].count}
    found = search_intermediate(prepared.histograms, between, prepared.plan.activation_offset)
    if not found:
        return found
    read = {entry.tensor: entry.quantizer for entry in activations.values()}
    return with_counted_ranges(prepared.graph, found, read)


def with_rounding(prepared: Prepared) -> Prepared:
    """With weights rounded for what was observed: of layers where that was asked for, in loops and branches always."""
    if prepared.products:
        weight_only = with_rounded_products(prepared.weight_only, prepared.products)
        graph = with_weight_only(prepared.float_products, weight_only)
        prepared = replace(prepared, weight_only=weight_only, graph=graph)
    if not prepared.grams:
        return prepared
    check_seen(prepared.graph, prepared.places, prepared.histograms)
    rounded, in_channels = (
        with_rounded_weights(prepared.graph, prepared.layers, weights, prepared.grams, prepared.patches)
        for weights in (prepared.weights, prepared.channel_weights)
    )
    return replace(prepared, weights=rounded, channel_weights=in_channels)


def with_changed(
    prepared: Prepared, network: QuantizedNetwork, changed: Mapping[NodeInput, QuantizedInput]
) -> QuantizedNetwork:
    """The network with other quantizers of some activations.

    Parameters
    ----------
    prepared : Prepared
        The plan, and what was observed.
    network : QuantizedNetwork
        The network.
    changed : Mapping[NodeInput, QuantizedInput]
        (node, input index) → quantized activation, for those that change.
    """
    every = network.inputs_by_place()
    return with_activations(prepared, {**every, **changed}, network.intermediate)


def with_activations(
    prepared: Prepared, activations: Mapping[NodeInput, QuantizedInput], intermediate: Mapping[str, SearchResult]
) -> QuantizedNetwork:
    """The network with these quantizers of its activations; weights and biases are fitted to them.

    Parameters
    ----------
    activations : Mapping[NodeInput, QuantizedInput]
        (node, input index) → quantized activation, for every place that gets a quantizer.
    intermediate : Mapping[str, SearchResult]
        As of :class:`calibrant.quantized_network.QuantizedNetwork`.
    """
    graph, layers, plan = prepared.graph, prepared.layers, prepared.plan
    read = {name: activations[name, layers[name].data_inputs[0]].quantizer for name in prepared.weights}
    weights, corrections = _fitted(prepared, prepared.weights, read)
    in_channels = _channel_weights(prepared, read)
    network = QuantizedNetwork(
        graph=graph,
        layers=tuple(
            QuantizedLayer(
                layer=layers[entry.name],
                inputs=tuple(activations[entry.name, index] for index in layers[entry.name].data_inputs),
                weights=weights[entry.name].quantized if entry.name in weights else None,
                float_weights=weights[entry.name].float_values if entry.name in weights else None,
                bias=bias_of(graph, layers[entry.name], corrections.get(entry.name)),
                bias_correction=corrections.get(entry.name),
                balance=prepared.balanced.factors.get(entry.name),
                channel_weights=in_channels.get(entry.name),
            )
            for entry in plan.layers
        ),
        tensors=tuple(activations[place] for place in prepared.places if place[0] not in layers),
        force_float16_scale=plan.force_float16_scale,
        intermediate={**_narrow(prepared, activations), **intermediate},
        weight_only=prepared.weight_only,
        output_tensors=prepared.original.outputs,
        too_coarse=without_codes(intermediate, prepared.histograms) | wide_reciprocals(graph, prepared.histograms),
    )
    refuse_float16_scales(network)
    return with_exact_scales(network)


def _fitted(
    prepared: Prepared, weights: Mapping[str, LayerWeights], read: Mapping[str, Quantizer]
) -> tuple[dict[str, LayerWeights], dict[str, np.ndarray]]:
    """Weights with scales that hold every bias, and corrections of the biases; ``read`` is of the layers' inputs."""
    graph, layers = prepared.graph, prepared.layers
    scales = {name: quantizer.accumulator_scale for name, quantizer in read.items()}
    held = with_held_biases(graph, layers, weights, scales)
    corrections = bias_corrections(graph, layers, held, prepared.patches, prepared.shifts) if prepared.patches else {}
    for name, minimum in prepared.minima.items():
        if name in corrections and not minimum.is_empty:
            lowest = prepared.histograms[read_tensor(graph, (name, layers[name].data_inputs[0]))].minimum
            least = least_corrections(graph, layers[name], held[name], minimum.minimum, read[name], lowest)
            corrections[name] = np.maximum(corrections[name], least)
    return held, corrections


def _channel_weights(prepared: Prepared, read: Mapping[str, Quantizer]) -> dict[str, ChannelWeights]:
    weights, corrections = _fitted(prepared, prepared.channel_weights, read)
    return {
        name: ChannelWeights(entry.quantized, bias_of(prepared.graph, prepared.layers[name], corrections.get(name)))
        for name, entry in weights.items()
    }


def _narrow(prepared: Prepared, activations: Mapping[NodeInput, QuantizedInput]) -> dict[str, SearchResult]:
    """Scales of 8 bits for what layers read with 16: others in a LiteRT file may read it with 8."""
    if not isinstance(prepared.lite, FloatFile):
        return {}
    wide = [entry.tensor for entry in activations.values() if entry.quantizer.bits == 16]
    return search_intermediate(prepared.histograms, dict.fromkeys(wide, False), prepared.plan.activation_offset)

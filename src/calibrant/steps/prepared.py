"""Step: quantize the weights of a balanced network, and decide what is to be observed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.algorithms.channel_extremes import ChannelMinimum
from calibrant.algorithms.histogram import Histogram
from calibrant.algorithms.patch_gram import PatchGram
from calibrant.algorithms.patch_mean import PatchGeometry, PatchMean
from calibrant.calibration.observer import Statistic, Statistics
from calibrant.config.model import Configuration
from calibrant.config.plan import ActivationPlan, Plan
from calibrant.emit.tflite.conversion.float_file import FloatFile
from calibrant.errors import CalibrantError
from calibrant.fold import Folded
from calibrant.graph.graph import Graph
from calibrant.graph.layers import Layer
from calibrant.graph.node_input import NodeInput, read_tensor
from calibrant.options import Options
from calibrant.progress import Stopwatch
from calibrant.quantized_network import QuantizedWeightOnly
from calibrant.steps.balancing.balance import Balanced
from calibrant.steps.planned import Planned
from calibrant.steps.ranges.activations import quantized_places
from calibrant.steps.ranges.intermediate_tensors import (
    CONVERTING,
    float_lite_file,
    intermediate_tensors,
    observable_between,
)
from calibrant.steps.ranges.joint import with_joint_places, with_joint_settings
from calibrant.steps.ranges.positive_results import minimum_statistics
from calibrant.steps.sound_outputs import sound_outputs
from calibrant.steps.weights.bias_correction import patch_statistics, with_biases
from calibrant.steps.weights.dense_channels import dense_channel_weights
from calibrant.steps.weights.narrow_range import holdable_weights
from calibrant.steps.weights.quantize_weights import LayerWeights, bias_of, quantize_all_weights, with_quantized_weights
from calibrant.steps.weights.round_products import ProductGram, product_statistics
from calibrant.steps.weights.round_weights import GramPlace, gram_statistics
from calibrant.steps.weights.weight_only import quantize_weight_only, with_weight_only


@dataclass(frozen=True, eq=False)
class Prepared:
    """A network with integer weights, whose activations are still to be observed.

    Parameters
    ----------
    original : Graph
        The model as it was read.
    folded : Folded
        The model after fusion.
    configuration : Configuration
        What the plan was made from.
    plan : Plan
        The settings of every layer.
    balanced : Balanced
        The model after balancing.
    graph : Graph
        Float graph with the layers to be quantized.
    layers : Mapping[str, Layer]
        Its layers by name.
    weights : Mapping[str, LayerWeights]
        Layer → its integer weights.
    channel_weights : Mapping[str, LayerWeights]
        Dense layer → its weights with a scale for each channel; none where no format asks for them.
    observed : Graph
        The graph that is run on the data.
    unclipped : Graph
        The same graph without what is observed in the place of other tensors.
    places : Mapping[NodeInput, ActivationPlan]
        (node, input index) → settings of every activation that gets a quantizer.
    intermediate : Mapping[str, bool]
        Further tensors for which an export needs scales → whether nothing of their range may be cut off.
    spare : Mapping[str, bool]
        The same of those for which it may once a budget has given layers 16 bits.
    fixed : Mapping[str, Quantizer]
        Tensors that an export's kernels make with the same scale in every model.
    seen : Mapping[str, str]
        Tensor → the one that is observed in its place.
    lite : FloatFile | CalibrantError | None
        The network as a float LiteRT file, or why it cannot be one; None where no format asks for it.
    weight_only : tuple[QuantizedWeightOnly, ...]
        The layers of which ``graph`` has the quantized weights already.
    float_products : Graph
        The same graph with float weights of these layers.
    histograms : Mapping[str, Histogram]
        Tensor → its histogram, still empty.
    patches : Mapping[tuple[str, PatchGeometry], PatchMean]
        Tensor and geometry → mean patch, still empty.
    grams : Mapping[GramPlace, PatchGram]
        Second moments of patches, still empty; none where weights are rounded to the nearest code.
    products : Mapping[str, ProductGram]
        Second moments of what the layers of ``weight_only`` read, still empty.
    minima : Mapping[str, ChannelMinimum]
        Layer → smallest result of each channel, still empty; only where a corrected bias has to leave it positive.
    equalized : bool
        Whether the channels between layers were equalized.
    shifts : Mapping[str, np.ndarray]
        Layer → addend of its bias that makes up for what the layers before it change in the mean of what it reads.
    """

    original: Graph
    folded: Folded
    configuration: Configuration
    plan: Plan
    balanced: Balanced
    graph: Graph
    layers: Mapping[str, Layer]
    weights: Mapping[str, LayerWeights]
    channel_weights: Mapping[str, LayerWeights]
    observed: Graph
    unclipped: Graph
    places: Mapping[NodeInput, ActivationPlan]
    intermediate: Mapping[str, bool]
    spare: Mapping[str, bool]
    fixed: Mapping[str, Quantizer]
    seen: Mapping[str, str]
    lite: FloatFile | CalibrantError | None
    weight_only: tuple[QuantizedWeightOnly, ...]
    float_products: Graph
    histograms: Mapping[str, Histogram]
    patches: Mapping[tuple[str, PatchGeometry], PatchMean]
    grams: Mapping[GramPlace, PatchGram]
    products: Mapping[str, ProductGram]
    minima: Mapping[str, ChannelMinimum]
    equalized: bool = False
    shifts: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def planned_layers(self) -> list[Layer]:
        """The layers that the plan quantizes."""
        return [self.layers[entry.name] for entry in self.plan.layers]

    @cached_property
    def statistics(self) -> Statistics:
        """Tensor → what is collected about it; histograms first, because they refuse values that are not finite."""
        result: dict[str, list[Statistic]] = {
            self.seen.get(tensor, tensor): [histogram] for tensor, histogram in self.histograms.items()
        }
        for (tensor, _), patch in self.patches.items():
            result.setdefault(tensor, []).append(patch)
        for (tensor, _, _), gram in self.grams.items():
            result.setdefault(tensor, []).append(gram)
        for name, minimum in self.minima.items():
            result.setdefault(f"{self.layers[name].end}:0", []).append(minimum)
        return result

    @cached_property
    def with_outputs(self) -> Statistics:
        """The statistics, those of loops and branches, and that the float network's outputs are numbers."""
        looked_at = {self.seen.get(tensor, tensor) for tensor in self.histograms}
        result = {**self.statistics, **{key: [gram] for key, gram in self.products.items()}}
        for tensor, required in sound_outputs(self.observed, self.observed.outputs).items():
            if tensor not in looked_at:
                result[tensor] = [required, *result.get(tensor, [])]
        return result


def prepare_balanced(planned: Planned, balanced: Balanced, options: Options, watch: Stopwatch) -> Prepared:
    """Quantize the weights of a balanced network, and say what is to be observed."""
    plan, graph, layers = planned.plan, balanced.graph, balanced.layers
    if options.calibration.bias_correction:
        graph, layers = with_biases(graph, layers, [entry.name for entry in plan.layers])
    with watch.step("weights"):
        for entry in plan.layers:
            bias_of(graph, layers[entry.name])  # raises for NaN, before it makes the outputs so
        weight_only, float_products = quantize_weight_only(graph, plan.weight_only), graph
        graph = with_weight_only(graph, weight_only)
        weights = holdable_weights(quantize_all_weights(graph, layers, plan.layers), options.export.formats)
        channel_weights: dict[str, LayerWeights] = {}
        if options.export.writes_tflite and options.export.tflite_dense_per_channel:
            channel_weights = dense_channel_weights(layers, weights, plan.layers)
            channel_weights = holdable_weights(channel_weights, options.export.formats)
    plan = with_joint_settings(plan, graph, layers, planned.configuration.skip_layers)
    places = with_joint_places(quantized_places(graph, layers, plan), plan.groups)
    chosen, lite = [layers[entry.name] for entry in plan.layers], None
    if options.export.writes_tflite:
        with watch.step("convert", CONVERTING):
            lite = float_lite_file(graph, chosen, places, options.export.tflite)
    tflite = options.export.tflite
    wide = [place for place, settings in places.items() if settings.bits == 16]
    intermediate, saturating, fixed = intermediate_tensors(lite, graph, chosen, places, tflite, wide)
    spare: dict[str, bool] = {}
    if options.calibration.budget is not None:
        wider = [*wide, *weighted_places(places, layers)]
        spare, saturating, _ = intermediate_tensors(lite, graph, chosen, places, tflite, wider)
    floating = options.calibration.bias_correction or options.calibration.round_weights
    tensors = tuple(read_tensor(graph, place) for place in places)
    unclipped = graph if floating else with_quantized_weights(graph, layers, weights)
    observed, seen, needed = observable_between(graph, unclipped, tensors, {**spare, **intermediate}, saturating)
    intermediate = {tensor: needed[tensor] for tensor in intermediate if tensor in needed}
    spare = {tensor: whole for tensor, whole in needed.items() if tensor not in intermediate}
    return Prepared(
        original=planned.original,
        folded=planned.folded,
        configuration=planned.configuration,
        plan=plan,
        balanced=balanced,
        graph=graph,
        layers=layers,
        weights=weights,
        channel_weights=channel_weights,
        observed=observed,
        unclipped=unclipped,
        places=places,
        intermediate=intermediate,
        spare=spare,
        fixed=fixed,
        seen=seen,
        lite=lite,
        weight_only=weight_only,
        float_products=float_products,
        histograms={tensor: Histogram() for tensor in (*tensors, *intermediate, *spare)},
        patches=patch_statistics(graph, layers, weights) if options.calibration.bias_correction else {},
        grams=gram_statistics(graph, layers, weights) if options.calibration.round_weights else {},
        products=product_statistics(weight_only),
        minima=minimum_statistics(graph, layers, weights) if options.calibration.bias_correction else {},
    )


def weighted_places(places: Iterable[NodeInput], layers: Mapping[str, Layer]) -> list[NodeInput]:
    """The places that a budget may give 16 bits."""
    return [place for place in places if place[0] in layers and layers[place[0]].weight_input is not None]

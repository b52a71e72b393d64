"""Step: quantize the weights of a balanced network, and decide what is to be observed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from calibrant.algorithms.histogram import Histogram
from calibrant.algorithms.patch_gram import PatchGram
from calibrant.algorithms.patch_mean import PatchGeometry, PatchMean
from calibrant.calibration.observer import Statistic, Statistics
from calibrant.calibration.runner import CalibrationRunner
from calibrant.config.model import Configuration
from calibrant.config.plan import ActivationPlan, Plan
from calibrant.data.open_data import Batches
from calibrant.emit.tflite.float_file import FloatFile
from calibrant.errors import CalibrantError, ConfigError, Problem
from calibrant.fold import Folded
from calibrant.graph.cut_proposal import check_feedable
from calibrant.graph.graph import Graph
from calibrant.graph.layers import Layer
from calibrant.graph.node_input import read_tensor
from calibrant.options import Options
from calibrant.progress import ProgressFn, Stopwatch
from calibrant.quantized_network import QuantizedWeightOnly
from calibrant.steps.activations import quantized_places
from calibrant.steps.balance import Balanced, balance
from calibrant.steps.bias_correction import patch_statistics, with_biases
from calibrant.steps.calibration_data import open_planned
from calibrant.steps.dense_channels import dense_channel_weights
from calibrant.steps.equalize import equalize
from calibrant.steps.intermediate_tensors import float_lite_file, intermediate_tensors
from calibrant.steps.joint import with_joint_places, with_joint_settings
from calibrant.steps.narrow_range import holdable_weights
from calibrant.steps.planned import Planned, plan_model
from calibrant.steps.round_weights import GramPlace, gram_statistics
from calibrant.steps.weight_only import quantize_weight_only, with_weight_only
from calibrant.steps.weights import LayerWeights, quantize_all_weights, with_quantized_weights


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
    places : Mapping[tuple[str, int], ActivationPlan]
        (node, input index) → settings of every activation that gets a quantizer.
    intermediate : Mapping[str, bool]
        Further tensors for which an export needs scales → whether nothing of their range may be cut off.
    lite : FloatFile | CalibrantError | None
        The network as a float LiteRT file, or why it cannot be one; None where no format asks for it.
    weight_only : tuple[QuantizedWeightOnly, ...]
        The layers of which ``graph`` has the quantized weights already.
    histograms : Mapping[str, Histogram]
        Tensor → its histogram, still empty.
    patches : Mapping[tuple[str, PatchGeometry], PatchMean]
        Tensor and geometry → mean patch, still empty.
    grams : Mapping[GramPlace, PatchGram]
        Second moments of patches, still empty; none where weights are rounded to the nearest code.
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
    places: Mapping[tuple[str, int], ActivationPlan]
    intermediate: Mapping[str, bool]
    lite: FloatFile | CalibrantError | None
    weight_only: tuple[QuantizedWeightOnly, ...]
    histograms: Mapping[str, Histogram]
    patches: Mapping[tuple[str, PatchGeometry], PatchMean]
    grams: Mapping[GramPlace, PatchGram]

    @cached_property
    def statistics(self) -> Statistics:
        """Tensor → what is collected about it; histograms first, because they refuse values that are not finite."""
        result: dict[str, list[Statistic]] = {tensor: [histogram] for tensor, histogram in self.histograms.items()}
        for (tensor, _), patch in self.patches.items():
            result.setdefault(tensor, []).append(patch)
        for (tensor, _, _), gram in self.grams.items():
            result.setdefault(tensor, []).append(gram)
        return result


def prepare(
    model: Any,
    config: Any,
    data: Any,
    options: Options,
    watch: Stopwatch,
    track: ProgressFn,
    runner: CalibrationRunner,
) -> tuple[Prepared, Batches]:
    """Load, fold, plan, open the data, balance, and quantize the weights.

    Raises
    ------
    CalibrantError
        With every problem of the model, the configuration or the data.
    """
    planned, batches = open_planned(_plan_feedable(model, config, options, watch), data, options, config is not None)
    if options.calibration.equalize:
        with watch.step("equalize"):
            planned = equalize(planned, batches, track, runner)
    with watch.step("balance"):
        balanced = balance(planned.folded.graph, planned.layers, planned.plan, batches, track, runner)
    return prepare_balanced(planned, balanced, options, watch), batches


def prepare_part(model: Any, config: Any, data: Any, options: Options, watch: Stopwatch) -> tuple[Prepared, Batches]:
    """As :func:`prepare`, where other processes observe other parts of the data."""
    _refuse_equalize(options)
    planned, batches = open_planned(_plan_feedable(model, config, options, watch), data, options, config is not None)
    return prepare_balanced(planned, _unbalanced(planned), options, watch), batches


def prepare_merge(model: Any, config: Any, options: Options, watch: Stopwatch) -> Prepared:
    """As :func:`prepare_part`, for parts that have been observed."""
    _refuse_equalize(options)
    planned = _plan_feedable(model, config, options, watch)
    return prepare_balanced(planned, _unbalanced(planned), options, watch)


def _plan_feedable(model: Any, config: Any, options: Options, watch: Stopwatch) -> Planned:
    """As :func:`calibrant.steps.planned.plan_model`, for a model that data can be fed to."""
    planned = plan_model(model, config, options.model, watch)
    check_feedable(planned.original)
    return planned


def prepare_balanced(planned: Planned, balanced: Balanced, options: Options, watch: Stopwatch) -> Prepared:
    """Quantize the weights of a balanced network, and say what is to be observed."""
    plan, graph, layers = planned.plan, balanced.graph, balanced.layers
    if options.calibration.bias_correction:
        graph, layers = with_biases(graph, layers, [entry.name for entry in plan.layers])
    with watch.step("weights"):
        weight_only = quantize_weight_only(graph, plan.weight_only)
        graph = with_weight_only(graph, weight_only)
        weights = holdable_weights(quantize_all_weights(graph, layers, plan.layers), options.export.formats)
        channel_weights: dict[str, LayerWeights] = {}
        if "tflite" in options.export.formats and options.export.tflite_dense_per_channel:
            channel_weights = dense_channel_weights(layers, weights, plan.layers)
            channel_weights = holdable_weights(channel_weights, options.export.formats)
    plan = with_joint_settings(plan, graph, layers, planned.configuration.skip_layers)
    places = with_joint_places(quantized_places(graph, layers, plan), plan.groups)
    chosen, lite = [layers[entry.name] for entry in plan.layers], None
    if "tflite" in options.export.formats:
        with watch.step("convert"):
            lite = float_lite_file(graph, chosen, places, options.export.tflite)
    intermediate = intermediate_tensors(lite, graph, chosen, places, options.export.tflite)
    floating = options.calibration.bias_correction or options.calibration.round_weights
    tensors = (*(read_tensor(graph, place) for place in places), *intermediate)
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
        observed=graph if floating else with_quantized_weights(graph, layers, weights),
        places=places,
        intermediate=intermediate,
        lite=lite,
        weight_only=weight_only,
        histograms={tensor: Histogram() for tensor in tensors},
        patches=patch_statistics(graph, layers, weights) if options.calibration.bias_correction else {},
        grams=gram_statistics(graph, layers, weights) if options.calibration.round_weights else {},
    )


def _unbalanced(planned: Planned) -> Balanced:
    balanced = [entry.name for entry in planned.plan.layers if entry.migration_strength is not None]
    if balanced:
        raise ConfigError(
            Problem(
                "dmq_balancer needs a pass over all data before the one that is split into parts",
                path=balanced[0],
                allowed="a configuration without dmq_balancer, or all data at once",
                hint="quantize --workers spreads both passes over processes",
            )
        )
    return Balanced(planned.folded.graph, planned.layers)


def _refuse_equalize(options: Options) -> None:
    if options.calibration.equalize:
        message = "equalizing needs a pass over all data before the one that is split into parts"
        hint = "equalize with quantize first, and give the NAME_equalized.pb that it writes as the model"
        raise ConfigError(Problem(message, allowed="equalize=False", hint=hint))

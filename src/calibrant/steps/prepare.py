"""Steps: everything before the data are observed, and the network that what was observed makes of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, overload

from calibrant.algorithms.histogram import Histogram
from calibrant.algorithms.patch_mean import PatchGeometry, PatchMean
from calibrant.algorithms.search_result import SearchResult
from calibrant.calibration.observer import Statistics
from calibrant.calibration.runner import CalibrationRunner
from calibrant.config import load_config
from calibrant.config.plan import ActivationPlan, Plan
from calibrant.data.amount import sample_limit, used_sentence
from calibrant.data.input_spec import inputs_of
from calibrant.data.open_data import Batches, open_data, unknown_keyword
from calibrant.emit.tflite.float_file import FloatFile
from calibrant.emit.tflite.settings import TfliteSettings
from calibrant.errors import CalibrantError, ConfigError, DataError, Problem
from calibrant.fold import Folded, fold
from calibrant.graph.cut_proposal import check_feedable
from calibrant.graph.graph import Graph
from calibrant.graph.layers import Layer
from calibrant.graph.load import load
from calibrant.graph.node_input import read_tensor
from calibrant.progress import LOG, ProgressFn, Stopwatch, no_progress
from calibrant.quantized_network import QuantizedInput, QuantizedLayer, QuantizedNetwork
from calibrant.steps.activations import quantized_places, search_all
from calibrant.steps.balance import Balanced, balance
from calibrant.steps.bias_correction import bias_corrections, by_tensor, patch_statistics, with_biases
from calibrant.steps.bias_range import with_held_biases
from calibrant.steps.exact_scales import with_exact_scales
from calibrant.steps.float16_scales import refuse_float16_scales
from calibrant.steps.graph_info import graph_info
from calibrant.steps.intermediate_tensors import float_lite_file, intermediate_tensors, search_intermediate
from calibrant.steps.joint import with_joint_places, with_joint_settings
from calibrant.steps.narrow_range import holdable_weights
from calibrant.steps.plan import layer_plan
from calibrant.steps.weights import LayerWeights, bias_of, quantize_all_weights, with_quantized_weights


@dataclass(frozen=True)
class ModelOptions:
    """How a model is read and what is done to it; parameters as of :func:`calibrant.quantize`."""

    inputs: Sequence[str] | None = None
    outputs: Sequence[str] | None = None
    signature: str | None = None
    constants: Mapping[str, Any] | None = None
    bias_correction: bool = True
    formats: Collection[str] = ()
    tflite: TfliteSettings = field(default_factory=TfliteSettings)


@dataclass(frozen=True)
class DataOptions:
    """Calibration data and how they are read; parameters as of :func:`calibrant.data.open_data.open_data`.

    ``samples`` : how many calibrate, or ``'all'``; None: what the configuration says.
    """

    data: Any
    batch_size: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    samples: int | str | None = None


@dataclass(frozen=True, eq=False)
class Planned:
    """A folded network, and what is to be done to it.

    Parameters
    ----------
    original : Graph
        The model as it was read.
    folded : Folded
        The model after fusion.
    layers : Mapping[str, Layer]
        Layers of the folded graph, by name.
    plan : Plan
        The settings of each layer by itself.
    skip_layers : Collection[str]
        Layers that the configuration leaves in float by name.
    """

    original: Graph
    folded: Folded
    layers: Mapping[str, Layer]
    plan: Plan
    skip_layers: Collection[str] = ()

    @property
    def joint_plan(self) -> Plan:
        """The plan with what joint quantization makes of the settings, as far as the graph before balancing tells."""
        return with_joint_settings(self.plan, self.folded.graph, self.layers, self.skip_layers)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A network with integer weights, whose activations are still to be observed.

    Parameters
    ----------
    original : Graph
        The model as it was read.
    folded : Folded
        The model after fusion.
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
    observed : Graph
        The graph that is run on the data.
    places : Mapping[tuple[str, int], ActivationPlan]
        (node, input index) → settings of every activation that gets a quantizer.
    intermediate : Collection[str]
        Further tensors for which an export needs scales.
    lite : FloatFile | CalibrantError | None
        The network as a float LiteRT file, or why it cannot be one; None where no format asks for it.
    histograms : Mapping[str, Histogram]
        Tensor → its histogram, still empty.
    patches : Mapping[tuple[str, PatchGeometry], PatchMean]
        Tensor and geometry → mean patch, still empty.
    """

    original: Graph
    folded: Folded
    plan: Plan
    balanced: Balanced
    graph: Graph
    layers: Mapping[str, Layer]
    weights: Mapping[str, LayerWeights]
    observed: Graph
    places: Mapping[tuple[str, int], ActivationPlan]
    intermediate: Collection[str]
    lite: FloatFile | CalibrantError | None
    histograms: Mapping[str, Histogram]
    patches: Mapping[tuple[str, PatchGeometry], PatchMean]

    @cached_property
    def statistics(self) -> Statistics:
        """Tensor → what is collected about it."""
        return by_tensor(self.histograms, self.patches)


@overload
def prepare(
    model: Any,
    config: Any,
    options: ModelOptions,
    data: DataOptions,
    watch: Stopwatch,
    track: ProgressFn = ...,
    runner: CalibrationRunner | None = ...,
    in_parts: bool = ...,
) -> tuple[Prepared, Batches]: ...


@overload
def prepare(
    model: Any,
    config: Any,
    options: ModelOptions,
    data: None,
    watch: Stopwatch,
    track: ProgressFn = ...,
    runner: CalibrationRunner | None = ...,
    in_parts: bool = ...,
) -> tuple[Prepared, None]: ...


def prepare(
    model: Any,
    config: Any,
    options: ModelOptions,
    data: DataOptions | None,
    watch: Stopwatch,
    track: ProgressFn = no_progress,
    runner: CalibrationRunner | None = None,
    in_parts: bool = False,
) -> tuple[Prepared, Batches | None]:
    """Load, fold, plan, balance, and quantize the weights; and open the data, if there are any.

    ``in_parts``: the data, or what was observed, are one part of several.

    Raises
    ------
    CalibrantError
        With every problem of the model, the configuration or the data.
    """
    planned = plan_model(model, config, options, watch)
    check_feedable(planned.original)
    plan, batch_num = planned.plan, planned.plan.batch_num if config is not None else None
    batches = None if data is None else open_calibration(data, planned.original, batch_num)
    if batches is not None:
        if batches.count is not None:
            plan = replace(plan, batch_num=batches.count)
        if batches.samples is not None:
            LOG.info(used_sentence(batches.samples, batches.available, batches.place))
        LOG.debug("data %s", batches.describe())
    graph, layers = planned.folded.graph, planned.layers
    with watch.step("balance"):
        balanced = (
            _unbalanced(graph, layers, plan)
            if in_parts or batches is None
            else balance(graph, layers, plan, batches, track, runner)
        )
    return prepare_balanced(replace(planned, plan=plan), balanced, options, watch), batches


def plan_model(model: Any, config: Any, options: ModelOptions, watch: Stopwatch) -> Planned:
    """Load, fold and plan.

    Raises
    ------
    CalibrantError
        With every problem of the model or the configuration.
    """
    configuration = load_config(config)
    with watch.step("load"):
        original = load(model, options.inputs, options.outputs, options.signature, options.constants)
    ends = (", ".join(tensors) for tensors in (original.inputs, original.outputs))
    LOG.debug("model %s: %d nodes, inputs %s, outputs %s", original.source, len(original.nodes), *ends)
    with watch.step("fold"):
        folded = fold(original, configuration.do_fusion is not False, configuration.skip_fusion_layers)
        info, layers = graph_info(original, folded.graph, folded.fusions)
    LOG.debug("%d norms folded, %d left", len(folded.fusions), len(folded.left))
    plan = layer_plan(configuration, info)
    LOG.debug("%d layers to be quantized, %d stay in float", len(plan.layers), len(plan.disabled) + len(plan.skipped))
    return Planned(original, folded, layers, plan, configuration.skip_layers)


def prepare_balanced(planned: Planned, balanced: Balanced, options: ModelOptions, watch: Stopwatch) -> Prepared:
    """Quantize the weights of a balanced network, and say what is to be observed."""
    plan, graph, layers = planned.plan, balanced.graph, balanced.layers
    if options.bias_correction:
        graph, layers = with_biases(graph, layers, [entry.name for entry in plan.layers])
    with watch.step("weights"):
        weights = holdable_weights(quantize_all_weights(graph, layers, plan.layers), options.formats)
    plan = with_joint_settings(plan, graph, layers, planned.skip_layers)
    places = with_joint_places(quantized_places(graph, layers, plan), plan.groups)
    chosen, lite = [layers[entry.name] for entry in plan.layers], None
    if "tflite" in options.formats:
        with watch.step("convert"):
            lite = float_lite_file(graph, chosen, places, options.tflite)
    intermediate = intermediate_tensors(lite, graph, chosen, places, options.tflite)
    tensors = (*(read_tensor(graph, place) for place in places), *intermediate)
    return Prepared(
        original=planned.original,
        folded=planned.folded,
        plan=plan,
        balanced=balanced,
        graph=graph,
        layers=layers,
        weights=weights,
        observed=graph if options.bias_correction else with_quantized_weights(graph, layers, weights),
        places=places,
        intermediate=intermediate,
        lite=lite,
        histograms={tensor: Histogram() for tensor in tensors},
        patches=patch_statistics(graph, layers, weights) if options.bias_correction else {},
    )


def open_calibration(data: DataOptions, original: Graph, batch_num: int | None) -> Batches:
    """The batches that calibrate: as many as hold the samples asked for, else ``batch_num``, else the default."""
    by_samples = data.samples is not None or batch_num is None
    if wrong := data.options.keys() & {"batch_num", "sample_limit", "spread"}:
        raise DataError(*(unknown_keyword(name) for name in sorted(wrong)))
    return open_data(
        data.data,
        inputs_of(original),
        batch_size=data.batch_size,
        batch_num=None if by_samples else batch_num,
        sample_limit=sample_limit(data.samples) if by_samples else None,
        spread=True,
        **data.options,
    )


def _unbalanced(graph: Graph, layers: Mapping[str, Layer], plan: Plan) -> Balanced:
    balanced = [entry.name for entry in plan.layers if entry.migration_strength is not None]
    if balanced:
        raise ConfigError(
            Problem(
                "dmq_balancer needs a pass over all data before the one that is split into parts",
                path=balanced[0],
                allowed="a configuration without dmq_balancer, or all data at once",
                hint="quantize --workers spreads both passes over processes",
            )
        )
    return Balanced(graph, layers)


def observed_network(prepared: Prepared) -> QuantizedNetwork:
    """Search the factors in what was observed, and put together what is known of every layer."""
    intermediate = search_intermediate(prepared.histograms, prepared.intermediate, prepared.plan.activation_offset)
    found = search_all(prepared.graph, prepared.places, prepared.histograms, prepared.plan.groups)
    return with_activations(prepared, found, intermediate)


def with_activations(
    prepared: Prepared, found: Mapping[tuple[str, int], QuantizedInput], intermediate: Mapping[str, SearchResult]
) -> QuantizedNetwork:
    """The network with these quantizers of its activations; weights and biases are fitted to them.

    Parameters
    ----------
    found : Mapping[tuple[str, int], QuantizedInput]
        (node, input index) → quantized activation, for every place that gets a quantizer.
    intermediate : Mapping[str, SearchResult]
        As of :class:`calibrant.quantized_network.QuantizedNetwork`.
    """
    graph, layers, plan = prepared.graph, prepared.layers, prepared.plan
    scales = {name: found[name, layers[name].data_inputs[0]].quantizer.scale for name in prepared.weights}
    weights = with_held_biases(graph, layers, prepared.weights, scales)
    corrections = bias_corrections(graph, layers, weights, prepared.patches) if prepared.patches else {}
    network = QuantizedNetwork(
        graph=graph,
        layers=tuple(
            QuantizedLayer(
                layer=layers[entry.name],
                inputs=tuple(found[entry.name, index] for index in layers[entry.name].data_inputs),
                weights=weights[entry.name].quantized if entry.name in weights else None,
                float_weights=weights[entry.name].float_values if entry.name in weights else None,
                bias=bias_of(graph, layers[entry.name], corrections.get(entry.name)),
                bias_correction=corrections.get(entry.name),
                balance=prepared.balanced.factors.get(entry.name),
            )
            for entry in plan.layers
        ),
        tensors=tuple(found[place] for place in prepared.places if place[0] not in layers),
        force_float16_scale=plan.force_float16_scale,
        intermediate=intermediate,
        output_tensors=prepared.original.outputs,
    )
    refuse_float16_scales(network)
    return with_exact_scales(network)

"""Priorities: a configuration and the facts of a graph to one frozen plan per layer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from calibrant.config.check import rule_problems
from calibrant.config.graph_check import graph_problems
from calibrant.config.graph_info import GraphInfo, LayerInfo
from calibrant.config.load import read_config
from calibrant.config.model import ARQuantize, CalibrationConfig, Configuration, FMRQuantize, HFMGQuantize, NUQuantize
from calibrant.config.plan import ActivationPlan, LayerPlan, Plan, TensorPlan, WeightPlan
from calibrant.config.problems import ProblemList
from calibrant.config.rules import default_of
from calibrant.config.warn import plan_warnings
from calibrant.errors import ConfigError, Problem

DEFAULT = "default"


@dataclass(frozen=True)
class Level:
    """One of the places that can set a layer's blocks, and its name in messages."""

    origin: str
    settings: CalibrationConfig


def resolve(configuration: Configuration, info: GraphInfo, nuq_layers: frozenset[str] | None = None) -> Plan:
    """The plan for one graph.

    A block (weights, activation, balancer) comes whole from the first of override_layer_configs, override_layer_types,
    common_config and the defaults that sets it. Asymmetry comes from the first of the three whose activation block
    writes ``asymmetric``, else from activation_offset.

    ``nuq_config`` stands between the first two for the weights of the layers its mapping file selects: it wins over
    their type and over common_config, and an override of that very layer wins over it. Where it has no
    ``nuq_quantize`` of its own, a ``nuq_quantize`` that the layer would have got anyway is kept.

    Parameters
    ----------
    configuration : as ``load_config`` returns it, or made in Python.
    facts : the graph.
    nuq_layers : names of the layers that the mapping file of ``nuq_config`` selects; None where it was not read, which
        leaves all weights uniform with a warning.

    Raises
    ------
    ConfigError
        The configuration breaks a rule or does not fit the graph, or nothing is left to quantize; every problem is
        listed.
    """
    problems = ProblemList()
    problems.extend(all_problems(configuration, info))
    problems.raise_if_any()
    return build_plan(configuration, info, nuq_layers)


def check_config(
    source: str | os.PathLike[str] | Configuration | None, info: GraphInfo | None = None
) -> tuple[Problem, ...]:
    """Every problem of a configuration at once: of the text, of its values and, given a graph, of the names in it.

    Parameters
    ----------
    source : as ``load_config`` takes it.
    facts : the graph, if there is one to check against.

    Returns
    -------
    tuple of Problem : in the order of the file; empty where nothing is wrong.
    """
    try:
        configuration, problems = read_config(source)
        if info is not None:
            problems.extend(graph_problems(configuration, info))
            if not problems:
                build_plan(configuration, info)
    except ConfigError as error:
        return error.problems
    return problems.listing()


def all_problems(configuration: Configuration, info: GraphInfo) -> Iterator[Problem]:
    """Everything that is wrong with a configuration for this graph."""
    yield from rule_problems(configuration)
    yield from graph_problems(configuration, info)


def build_plan(configuration: Configuration, info: GraphInfo, nuq_layers: frozenset[str] | None = None) -> Plan:
    """The plan of a configuration that has no problems.

    Raises
    ------
    ConfigError
        Nothing is left to quantize.
    """
    skipped = dict(_skipped(configuration, info))
    levels = _Levels(configuration)
    plans = {
        layer.name: _layer_plan(configuration, levels.of(layer), layer, nuq_layers or frozenset())
        for layer in info.layers
    }
    tensors = _tensors(configuration)
    if len(skipped) == len(plans) and not tensors:
        raise ConfigError(_nothing_left(configuration, info))
    types = {layer.name: layer.type for layer in info.layers}
    return Plan(
        batch_num=_value(configuration, "batch_num"),
        activation_offset=_value(configuration, "activation_offset"),
        joint_quant=_value(configuration, "joint_quant"),
        do_fusion=_value(configuration, "do_fusion"),
        skip_fusion_layers=tuple(configuration.skip_fusion_layers),
        force_float16_scale=configuration.fakequant_precision_mode == "FORCE_FP16_QUANT",
        nuq_mapping_file=configuration.mapping_path,
        layers=tuple(plan for name, plan in plans.items() if name not in skipped),
        tensors=tensors,
        disabled=tuple(plans[name] for name in skipped),
        skipped=tuple((name, types[name], reason) for name, reason in skipped.items()) + tuple(info.rejected),
        warnings=plan_warnings(configuration, info, frozenset(skipped), nuq_layers),
    )


def _value(configuration: Configuration, field: str) -> int | bool:
    written = getattr(configuration, field)
    return default_of("AMCTConfig", field) if written is None else written


def _skipped(configuration: Configuration, info: GraphInfo) -> Iterator[tuple[str, str]]:
    """Name and reason of each quantizable layer that the configuration leaves in float."""
    names, types = set(configuration.skip_layers), set(configuration.skip_layer_types)
    for layer in info.layers:
        if layer.name in names:
            yield layer.name, "listed in skip_layers"
        elif layer.type in types:
            yield layer.name, f"{layer.type} is listed in skip_layer_types"


class _Levels:
    """The places that say something about a layer, found by its name and its type."""

    def __init__(self, configuration: Configuration):
        self.by_name = {
            override.layer_name: Level(f"override_layer_configs[{index}]", override.calibration_config)
            for index, override in enumerate(configuration.override_layer_configs)
        }
        self.by_type = {
            override.layer_type: Level(f"override_layer_types[{index}]", override.calibration_config)
            for index, override in enumerate(configuration.override_layer_types)
        }
        common = configuration.common_config
        self.common = None if common is None else Level("common_config", common)

    def of(self, layer: LayerInfo) -> list[Level]:
        """The strongest first."""
        levels = (self.by_name.get(layer.name), self.by_type.get(layer.type), self.common)
        return [level for level in levels if level is not None]


def _layer_plan(
    configuration: Configuration, levels: list[Level], layer: LayerInfo, nuq_layers: frozenset[str]
) -> LayerPlan:
    sources = {}
    weights = balancer = None
    if layer.has_weights:
        block, sources["weights"] = _weights(configuration, levels, layer.name in nuq_layers)
        weights = weight_plan(block, layer)
        balancer = next(
            ((level.settings.dmq_balancer, level.origin) for level in levels if level.settings.dmq_balancer), None
        )
    activation, sources["activation"] = _activation(levels)
    asymmetric, sources["asymmetric"] = _asymmetric(configuration, levels, layer)
    strength = None
    if balancer is not None:
        sources["balancer"] = balancer[1]
        strength = balancer[0].migration_strength
        strength = default_of("DMQBalancer", "migration_strength") if strength is None else strength
    return LayerPlan(
        name=layer.name,
        type=layer.type,
        weights=weights,
        activation=activation_plan(activation, asymmetric),
        migration_strength=strength,
        sources=tuple(sources.items()),
    )


def _weights(configuration: Configuration, levels: list[Level], selected: bool) -> tuple[ARQuantize | NUQuantize, str]:
    found = [(level.settings.arq_quantize or level.settings.nuq_quantize, level.origin) for level in levels]
    found = [(block, origin) for block, origin in found if block is not None]
    block, origin = found[0] if found else (ARQuantize(), DEFAULT)
    if selected and not origin.startswith("override_layer_configs"):
        own = configuration.nuq_config.nuq_quantize if configuration.nuq_config else None
        if own is not None or not isinstance(block, NUQuantize):
            return own or NUQuantize(), "nuq_config"
    return block, origin


def _activation(levels: list[Level]) -> tuple[FMRQuantize | HFMGQuantize, str]:
    for level in levels:
        block = level.settings.ifmr_quantize or level.settings.hfmg_quantize
        if block is not None:
            return block, level.origin
    return FMRQuantize(), DEFAULT


def _asymmetric(configuration: Configuration, levels: list[Level], layer: LayerInfo) -> tuple[bool, str]:
    if layer.dynamic:
        return False, "symmetric only"
    for level in levels:
        block = level.settings.ifmr_quantize or level.settings.hfmg_quantize
        if block is not None and block.asymmetric is not None:
            return block.asymmetric, level.origin
    return _value(configuration, "activation_offset"), (
        DEFAULT if configuration.activation_offset is None else "activation_offset"
    )


def weight_plan(block: ARQuantize | NUQuantize, layer: LayerInfo) -> WeightPlan:
    """A block of weights with its defaults filled in.

    6 and 7 bits act on Conv2D only and scales per channel exist only where the layer has channels; in an override that
    asks for them elsewhere, that is an error which has been reported before.
    """
    if isinstance(block, NUQuantize):
        return WeightPlan(
            "nuq",
            channel_wise=layer.has_channels,
            num_steps=_or_default(block, "num_steps"),
            num_of_iteration=_or_default(block, "num_of_iteration"),
        )
    bits = _or_default(block, "quant_bits")
    channel_wise = layer.has_channels if block.channel_wise is None else block.channel_wise and layer.has_channels
    return WeightPlan("arq", channel_wise=channel_wise, bits=bits if layer.type == "Conv2D" else 8)


def activation_plan(block: FMRQuantize | HFMGQuantize, asymmetric: bool) -> ActivationPlan:
    """A block of activations with its defaults filled in; ``asymmetric`` is resolved by its own priorities."""
    if isinstance(block, HFMGQuantize):
        return ActivationPlan("hfmg", asymmetric, num_of_bins=_or_default(block, "num_of_bins"))
    names = ("search_range_start", "search_range_end", "search_step", "max_percentile", "min_percentile")
    return ActivationPlan("ifmr", asymmetric, **{name: float(_or_default(block, name)) for name in names})


def _or_default(block: object, field: str) -> int | float:
    written = getattr(block, field)
    return default_of(type(block).__name__, field) if written is None else written


def _tensors(configuration: Configuration) -> tuple[TensorPlan, ...]:
    """One plan per quantized input; an input that is named again takes its last settings."""
    plans: dict[tuple[str, int], TensorPlan] = {}
    for tensor in configuration.tensor_quantize:
        if tensor.layer_name in configuration.skip_layers:
            continue
        block = tensor.ifmr_quantize or tensor.hfmg_quantize or FMRQuantize()
        asymmetric = _value(configuration, "activation_offset") if block.asymmetric is None else block.asymmetric
        plan = TensorPlan(tensor.layer_name, tensor.input_index, activation_plan(block, asymmetric))
        plans[plan.layer_name, plan.input_index] = plan
    return tuple(plans.values())


def _nothing_left(configuration: Configuration, info: GraphInfo) -> Problem:
    if not info.layers:
        message = "the graph has no quantizable layer and no tensor_quantize is given"
        hint = f"left out: {info.rejected[0][0]} ({info.rejected[0][2]})" if info.rejected else None
        return Problem(message, file=configuration.source.name if configuration.source else None, hint=hint)
    field = "skip_layer_types" if configuration.skip_layer_types else "skip_layers"
    message = f"nothing is left to quantize: all {len(info.layers)} quantizable layers are skipped"
    hint = "keep a layer, or quantize an input of a MaxPool or Add with tensor_quantize"
    return configuration.problem(f"{field}[0]", message, hint=hint)

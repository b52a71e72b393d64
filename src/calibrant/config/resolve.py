"""A configuration and the facts of a graph to one frozen plan per layer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from calibrant.config.check import rule_problems
from calibrant.config.graph_check import graph_problems
from calibrant.config.graph_info import GraphInfo, LayerInfo
from calibrant.config.levels import DEFAULT, Levels, activation_plan, or_default, weight_plan
from calibrant.config.load import read_config
from calibrant.config.model import Configuration, FMRQuantize
from calibrant.config.plan import LayerPlan, Plan, TensorPlan
from calibrant.config.problems import ProblemList
from calibrant.config.rules import default_of
from calibrant.config.shared_weights import shared_weights_problems, with_one_scale
from calibrant.config.warn import plan_warnings
from calibrant.errors import ConfigError, Problem


def resolve(configuration: Configuration, info: GraphInfo, nuq_layers: frozenset[str] | None = None) -> Plan:
    """The plan for one graph.

    The entry of a layer is taken whole: that of override_layer_configs, else that of override_layer_types, else
    common_config. What the entry does not say gets the defaults. ``asymmetric`` alone has a priority of its own: it
    comes from the first of the three whose activation block writes it, else from activation_offset.

    ``nuq_config`` decides about the weights of the layers its mapping file selects, unless the layer's own entry in
    override_layer_configs sets weights. Where it has no ``nuq_quantize`` of its own, a ``nuq_quantize`` that the layer
    would have got anyway is kept.

    Parameters
    ----------
    configuration : Configuration
        As ``load_config`` returns it, or made in Python.
    info : GraphInfo
        The graph.
    nuq_layers : frozenset[str] | None
        Names of the layers that the mapping file of ``nuq_config`` selects; None if it was not read, which leaves
        all weights uniform, with a warning.

    Raises
    ------
    ConfigError
        The configuration breaks a rule or does not fit the graph, or nothing is left to quantize; every problem is
        listed.
    """
    problems = ProblemList()
    problems.extend(rule_problems(configuration))
    problems.extend(plan_problems(configuration, info, nuq_layers))
    problems.raise_if_any()
    return build_plan(configuration, info, nuq_layers)


def read_config_json(path: str | os.PathLike[str], info: GraphInfo) -> Plan:
    """The plan that a ``config.json`` describes for a graph; raises as `resolve` does.

    Keys that are missing take their defaults, also inside a layer; a layer that is missing is not quantized.
    """
    configuration, problems = read_config(path)
    problems.extend(plan_problems(configuration, info))
    problems.raise_if_any()
    return build_plan(configuration, info)


def plan_problems(
    configuration: Configuration, info: GraphInfo, nuq_layers: frozenset[str] | None = None
) -> Iterator[Problem]:
    """Everything that does not fit this graph."""
    yield from graph_problems(configuration, info)
    yield from shared_weights_problems(configuration, info, nuq_layers)


def build_plan(configuration: Configuration, info: GraphInfo, nuq_layers: frozenset[str] | None = None) -> Plan:
    """The plan of a configuration that has no problems.

    Raises
    ------
    ConfigError
        Nothing is left to quantize.
    """
    levels = Levels(configuration)
    skipped = dict(levels.skipped(info.layers))
    weight_only, enclosed = _weight_only(levels, info)
    plans = {layer.name: _layer_plan(levels, layer, nuq_layers or frozenset()) for layer in info.layers}
    plans, one_scale = with_one_scale(plans, info, skipped)
    tensors = _tensors(levels)
    if len(skipped) == len(plans) and not tensors and not weight_only:
        raise ConfigError(_nothing_left(configuration, info))
    types = {layer.name: layer.type for layer in info.layers}
    layers = tuple(plan for name, plan in plans.items() if name not in skipped)
    return Plan(
        batch_num=_value(configuration, "batch_num"),
        activation_offset=_value(configuration, "activation_offset"),
        joint_quant=_value(configuration, "joint_quant"),
        do_fusion=_value(configuration, "do_fusion"),
        skip_fusion_layers=tuple(configuration.skip_fusion_layers),
        force_float16_scale=configuration.fakequant_precision_mode == "FORCE_FP16_QUANT",
        nuq_mapping_file=configuration.mapping_path or configuration.nuq_mapping_file,
        layers=layers,
        weight_only=weight_only,
        tensors=tensors,
        disabled=tuple(plans[name] for name in skipped),
        skipped=tuple((name, types[name], reason) for name, reason in skipped.items()) + enclosed,
        warnings=(
            *configuration.warnings,
            *plan_warnings(configuration, info, frozenset(skipped), nuq_layers),
            *one_scale,
        ),
    )


def _weight_only(levels: Levels, info: GraphInfo) -> tuple[tuple[LayerPlan, ...], tuple[tuple[str, str, str], ...]]:
    """The plans of layers whose weights alone are quantized; and everything that is not quantized at all.

    Layers that read one constant have the settings of the first, and all stay in float if one of them does.
    """
    skipped = dict(levels.skipped(info.weight_only))
    first: dict[str | None, LayerInfo] = {}
    for layer in sorted(info.weight_only, key=lambda layer: layer.name not in skipped):
        first.setdefault(layer.constant, layer)
    plans = []
    for layer in info.weight_only:
        source = first[layer.constant]
        if source.name not in skipped:
            plans.append(replace(_layer_plan(levels, source, frozenset()), name=layer.name, type=layer.type))
        elif layer.name not in skipped:
            skipped[layer.name] = f"shares its weights with {source.name!r}, which stays in float"
    planned = {plan.name for plan in plans}
    left = ((name, kind, skipped.get(name, reason)) for name, kind, reason in info.rejected if name not in planned)
    return tuple(plans), tuple(left)


def _value(configuration: Configuration, field: str) -> Any:
    written = getattr(configuration, field)
    return default_of("AMCTConfig", field) if written is None else written


def _layer_plan(levels: Levels, layer: LayerInfo, nuq_layers: frozenset[str]) -> LayerPlan:
    activation, activation_origin = levels.activation(layer)
    asymmetric, asymmetric_origin = levels.asymmetric(layer)
    sources = {"activation": activation_origin, "asymmetric": asymmetric_origin}
    entry, selected = levels.entry(layer), layer.name in nuq_layers
    weights = strength = None
    if layer.has_weights:
        block, origin = levels.weights(layer, selected)
        weights, sources = weight_plan(block, layer), {"weights": origin, **sources}
    if layer.can_be_balanced and entry.settings.dmq_balancer is not None:
        strength, sources["balancer"] = or_default(entry.settings.dmq_balancer, "migration_strength"), entry.origin
    return LayerPlan(
        name=layer.name,
        type=layer.type,
        weights=weights,
        activation=activation_plan(activation, asymmetric, layer.has_weights),
        migration_strength=strength,
        sources=tuple((block, _named(levels.configuration, origin)) for block, origin in sources.items()),
        entry=_named(levels.configuration, entry.origin),
        entry_line=levels.configuration.line_of(entry.origin),
        left_out=levels.left_out(layer, selected),
        can_be_balanced=layer.can_be_balanced,
    )


def _named(configuration: Configuration, origin: str) -> str:
    """What an origin is called in reports: entries of a ``config.json`` have no number."""
    return "config.json" if configuration.listed is not None and origin.startswith("override") else origin


def _tensors(levels: Levels) -> tuple[TensorPlan, ...]:
    """One plan per quantized input; an input that is named again takes its last settings."""
    configuration = levels.configuration
    plans: dict[tuple[str, int], TensorPlan] = {}
    for index, tensor in enumerate(configuration.tensor_quantize):
        name, number = tensor.layer_name, tensor.input_index
        if name is None or number is None or name in configuration.skip_layers:
            continue
        block = tensor.ifmr_quantize or tensor.hfmg_quantize
        asymmetric = None if block is None else block.asymmetric
        if asymmetric is None:
            asymmetric, _ = levels.first_asymmetric(levels.common)
        plans[name, number] = TensorPlan(
            name,
            number,
            activation_plan(block or FMRQuantize(), asymmetric),
            DEFAULT if block is None else f"tensor_quantize[{index}]",
        )
    return tuple(plans.values())


def _some(info: GraphInfo) -> str:
    return (*info.layers, *info.weight_only)[0].name


def _nothing_left(configuration: Configuration, info: GraphInfo) -> Problem:
    if not info.layers and not info.weight_only:
        message = "the graph has no quantizable layer and no tensor_quantize is given"
        hint = "an input of a MaxPool or Add can be quantized with tensor_quantize"
        if info.constant_layers:
            count = info.constant_layers
            what = "1 layer depends on no input and is" if count == 1 else f"{count} layers depend on no input and are"
            message = f"{message}: {what} computed beforehand"
            hint = "export the model with what such layers read, as the features of a graph, among its inputs"
        elif info.rejected:
            hint = f"left out: {info.rejected[0][0]} ({info.rejected[0][2]})"
        return Problem(message, file=configuration.source.name if configuration.source else None, hint=hint)
    count = len(info.layers) + len(info.weight_only)
    if configuration.listed is not None:
        disabled = len(configuration.listed)
        what = f"the file lists no layer that is quantized, of {count}" if disabled else "the file lists no layer"
        return Problem(
            f"nothing is left to quantize: {what}",
            file=configuration.source.name if configuration.source else None,
            allowed='layers by name: { "conv1": { "quant_enable": true } }',
            hint="set quant_enable of a layer to true" if disabled else f"list one, for example {_some(info)!r}",
        )
    field = "skip_layer_types" if configuration.skip_layer_types else "skip_layers"
    message = f"nothing is left to quantize: all {count} quantizable layers are skipped"
    hint = "keep a layer, or quantize an input of a MaxPool or Add with tensor_quantize"
    return configuration.problem(f"{field}[0]", message, hint=hint)

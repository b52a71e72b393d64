"""Layers that read the same weights need the same weight settings."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from calibrant.config.graph_info import GraphInfo, LayerInfo
from calibrant.config.levels import Levels, weight_plan
from calibrant.config.model import Configuration
from calibrant.config.plan import LayerPlan, WeightPlan
from calibrant.errors import Problem


def shared_weights_problems(
    configuration: Configuration, info: GraphInfo, nuq_layers: frozenset[str] | None = None
) -> Iterator[Problem]:
    """Every layer with other weight settings than an earlier one with the same weights, at the entry that has them."""
    levels = Levels(configuration)
    skipped = {name for name, _ in levels.skipped(info.layers)}
    first: dict[str, tuple[LayerInfo, WeightPlan]] = {}
    for layer in info.layers:
        if layer.constant is None or layer.name in skipped:
            continue
        selected = layer.name in (nuq_layers or ())
        plan = weight_plan(levels.weights(layer, selected)[0], layer)
        other, other_plan = first.setdefault(layer.constant, (layer, plan))
        if layer.channel_axes != other.channel_axes:
            plan, other_plan = (replace(each, channel_wise=False) for each in (plan, other_plan))
        if plan == other_plan:
            continue
        yield configuration.problem(
            levels.entry(layer).origin,
            f"{layer.name!r} shares its weights with {other.name!r}, but the two need different weight settings",
            allowed="the same weight settings for both",
            hint="give both the same arq_quantize or nuq_quantize, or list one in skip_layers",
        )


def with_one_scale(
    plans: Mapping[str, LayerPlan], info: GraphInfo, skipped: Collection[str]
) -> tuple[dict[str, LayerPlan], tuple[str, ...]]:
    """The plans, with a single scale for weights whose readers have output channels on different axes of them.

    A convolution and a transposed one count their channels on different axes of one constant.

    Returns
    -------
    plans : dict[str, LayerPlan]
        The plans of all layers.
    warnings : tuple[str, ...]
        One sentence for each constant.
    """
    readers: dict[str, list[LayerInfo]] = {}
    for layer in info.layers:
        if layer.constant is not None and layer.name not in skipped:
            readers.setdefault(layer.constant, []).append(layer)
    result, warnings = dict(plans), []
    for layers in readers.values():
        weights = {layer.name: plans[layer.name].weights for layer in layers}
        channel_wise = any(plan is not None and plan.channel_wise for plan in weights.values())
        if not channel_wise or len({layer.channel_axes for layer in layers}) == 1:
            continue
        names = " and ".join(repr(layer.name) for layer in layers)
        warnings.append(f"{names} share their weights, but not the axis of their channels: they have one scale")
        for name, plan in weights.items():
            if plan is not None:
                result[name] = replace(plans[name], weights=replace(plan, channel_wise=False))
    return result, tuple(warnings)

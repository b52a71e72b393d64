"""Layers that read the same weights need the same factors for them."""

from __future__ import annotations

from collections.abc import Iterator

from calibrant.config.graph_info import GraphInfo, LayerInfo
from calibrant.config.levels import Levels, weight_plan
from calibrant.config.model import Configuration
from calibrant.config.plan import WeightPlan
from calibrant.errors import Problem


def shared_weights_problems(
    configuration: Configuration, info: GraphInfo, nuq_layers: frozenset[str] | None = None
) -> Iterator[Problem]:
    """Every layer that asks for other factors than an earlier one with the same weights, at the entry that does."""
    levels = Levels(configuration)
    skipped = {name for name, _ in levels.skipped(info)}
    first: dict[str, tuple[LayerInfo, WeightPlan]] = {}
    for layer in info.layers:
        if layer.constant is None or layer.name in skipped:
            continue
        selected = layer.name in (nuq_layers or ())
        plan = weight_plan(levels.weights(layer, selected)[0], layer)
        other, other_plan = first.setdefault(layer.constant, (layer, plan))
        if plan != other_plan:
            reason, allowed = "", "the same weight settings for both"
            hint = "give both the same arq_quantize or nuq_quantize, or list one in skip_layers"
        elif plan.channel_wise and layer.channel_axes != other.channel_axes:
            reason, allowed = ": their channels lie on other axes", "one scale for both"
            hint = "arq_quantize { channel_wise : false } in override_layer_configs of both"
        else:
            continue
        yield configuration.problem(
            levels.entry(layer).origin,
            f"{layer.name!r} shares its weights with {other.name!r}, but the two need different factors{reason}",
            allowed=allowed,
            hint=hint,
        )

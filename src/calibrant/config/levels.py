"""Priorities: which entry of a configuration counts for a layer, and what each block of settings is after that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any

from calibrant.config.graph_info import FEW_BIT_TYPES, LayerInfo
from calibrant.config.model import (
    ARQuantize,
    CalibrationConfig,
    Configuration,
    DMQBalancer,
    FMRQuantize,
    HFMGQuantize,
    NUQuantize,
)
from calibrant.config.plan import ActivationPlan, WeightPlan
from calibrant.config.rules import default_of

DEFAULT = "default"
_BLOCK_NAMES = {
    ARQuantize: "arq_quantize",
    NUQuantize: "nuq_quantize",
    FMRQuantize: "ifmr_quantize",
    HFMGQuantize: "hfmg_quantize",
    DMQBalancer: "dmq_balancer",
}


@dataclass(frozen=True)
class Level:
    """One of the places that can have an entry for a layer, and its path in the configuration."""

    origin: str
    settings: CalibrationConfig


class Levels:
    """All places of a configuration that have entries for layers."""

    def __init__(self, configuration: Configuration):
        self.configuration = configuration
        self.by_name = {
            override.layer_name: Level(f"override_layer_configs[{index}]", override.calibration_config)
            for index, override in enumerate(configuration.override_layer_configs)
            if override.calibration_config is not None
        }
        self.by_type = {
            override.layer_type: Level(f"override_layer_types[{index}]", override.calibration_config)
            for index, override in enumerate(configuration.override_layer_types)
            if override.calibration_config is not None
        }
        common = configuration.common_config
        self.common = [] if common is None else [Level("common_config", common)]

    def skipped(self, layers: Iterable[LayerInfo]) -> Iterator[tuple[str, str]]:
        """Name and reason of each of these layers that the configuration leaves in float."""
        configuration = self.configuration
        names, types, listed = set(configuration.skip_layers), set(configuration.skip_layer_types), configuration.listed
        for layer in layers:
            if listed is not None and not listed.get(layer.name):
                yield layer.name, "quant_enable is false" if layer.name in listed else "not in config.json"
            elif layer.name in names:
                yield layer.name, "listed in skip_layers"
            elif layer.type in types:
                yield layer.name, f"{layer.type} is listed in skip_layer_types"

    def of(self, layer: LayerInfo) -> list[Level]:
        """The entries for a layer, the one that counts first."""
        levels = (self.by_name.get(layer.name), self.by_type.get(layer.type), *self.common)
        return [level for level in levels if level is not None]

    def entry(self, layer: LayerInfo) -> Level:
        """The entry that counts, as a whole."""
        return next(iter(self.of(layer)), Level(DEFAULT, CalibrationConfig()))

    def weights(self, layer: LayerInfo, selected: bool = False) -> tuple[ARQuantize | NUQuantize, str]:
        """The block of weights and its origin; ``selected``: by the mapping file of ``nuq_config``."""
        entry = self.entry(layer)
        block, origin = entry.settings.weights, entry.origin
        if selected and not (block is not None and origin.startswith("override_layer_configs")):
            own = self.configuration.nuq_config.nuq_quantize if self.configuration.nuq_config else None
            if own is not None or not isinstance(block, NUQuantize):
                return own or NUQuantize(), "nuq_config"
        return (ARQuantize(), DEFAULT) if block is None else (block, origin)

    def activation(self, layer: LayerInfo) -> tuple[FMRQuantize | HFMGQuantize, str]:
        """The block of activations and its origin."""
        entry = self.entry(layer)
        block = entry.settings.activation
        return (FMRQuantize(), DEFAULT) if block is None else (block, entry.origin)

    def asymmetric(self, layer: LayerInfo) -> tuple[bool, str]:
        """Whether a layer's activations have an offset, by the priority of its own; and the origin."""
        wide = layer.has_weights and self.activation(layer)[0].is_wide
        return (False, "symmetric only") if layer.dynamic or wide else self.first_asymmetric(self.of(layer))

    def first_asymmetric(self, levels: list[Level]) -> tuple[bool, str]:
        """What the first level says that says anything about it, else activation_offset; and the origin."""
        for level in levels:
            block = level.settings.activation
            if block is not None and block.asymmetric is not None:
                return block.asymmetric, level.origin
        offset = self.configuration.activation_offset
        if offset is None:
            return default_of("AMCTConfig", "activation_offset"), DEFAULT
        return offset, "activation_offset"

    def left_out(self, layer: LayerInfo, selected: bool = False) -> tuple[str, ...]:
        """What ``common_config`` sets and the entry of an overridden layer does not; ``selected`` as in `weights`."""
        entry = self.entry(layer)
        if not self.common or entry is self.common[0]:
            return ()
        common, own, found = self.common[0].settings, entry.settings, []
        acting = {"weights": layer.has_weights and not selected, "activation": True}
        for slot, acts in {**acting, "dmq_balancer": layer.can_be_balanced}.items():
            block, instead = getattr(common, slot), getattr(own, slot)
            if block is None or not acts:
                continue
            name = _BLOCK_NAMES[type(block)]
            if instead is None:
                found.append(name)
            elif type(instead) is type(block):
                found += [f"{name}.{lost}" for lost in _lost_fields(block, instead)]
        return tuple(found)


def _lost_fields(common: Any, own: Any) -> list[str]:
    """Fields of a block that would have another value if the block of ``common_config`` were merged with it."""
    message = type(common).__name__
    return [
        field.name
        for field in fields(common)
        if field.name != "asymmetric"
        and getattr(own, field.name) is None
        and getattr(common, field.name) not in (None, default_of(message, field.name))
    ]


def weight_plan(block: ARQuantize | NUQuantize, layer: LayerInfo) -> WeightPlan:
    """A block of weights with its defaults filled in.

    6 and 7 bits act on Conv2D only and scales per channel exist only where the layer has channels; in an override that
    asks for them elsewhere, that is an error which has been reported before.
    """
    if isinstance(block, NUQuantize):
        return WeightPlan(
            "nuq",
            channel_wise=layer.has_channels,
            num_steps=or_default(block, "num_steps"),
            num_of_iteration=or_default(block, "num_of_iteration"),
        )
    bits = or_default(block, "quant_bits")
    channel_wise = layer.has_channels if block.channel_wise is None else block.channel_wise and layer.has_channels
    return WeightPlan("arq", channel_wise=channel_wise, bits=bits if layer.type in FEW_BIT_TYPES else 8)


def activation_plan(block: FMRQuantize | HFMGQuantize, asymmetric: bool, has_weights: bool = False) -> ActivationPlan:
    """A block of activations with its defaults filled in; ``asymmetric`` is resolved by its own priorities.

    Only what layers with weights read may have 16 bits; these codes have no offset.
    """
    bits = 16 if block.is_wide and has_weights else 8
    asymmetric = asymmetric and bits == 8
    if isinstance(block, HFMGQuantize):
        return ActivationPlan("hfmg", asymmetric, bits, num_of_bins=or_default(block, "num_of_bins"))
    return ActivationPlan(
        "ifmr",
        asymmetric,
        bits,
        search_range_start=float(or_default(block, "search_range_start")),
        search_range_end=float(or_default(block, "search_range_end")),
        search_step=float(or_default(block, "search_step")),
        max_percentile=float(or_default(block, "max_percentile")),
        min_percentile=float(or_default(block, "min_percentile")),
    )


def or_default(block: object, field: str) -> Any:
    """The value of a field, or its default where it was not written."""
    written = getattr(block, field)
    return default_of(type(block).__name__, field) if written is None else written

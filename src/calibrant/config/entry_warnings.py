"""Entries for layers, and blocks in them, that act on no layer of the graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from calibrant.config.graph_info import BALANCED_WORDS, FEW_BIT_TYPES, GraphInfo, LayerInfo
from calibrant.config.levels import Level, Levels
from calibrant.config.model import CalibrationConfig, Configuration


def entry_warnings(configuration: Configuration, info: GraphInfo, skipped: frozenset[str]) -> Iterator[str]:
    """One sentence per entry, or block of it, that changes nothing.

    Parameters
    ----------
    skipped : frozenset[str]
        Quantizable layers that the configuration leaves in float.
    """
    levels = Levels(configuration)
    layers = {layer.name: layer for layer in info.layers if layer.name not in skipped}
    takers: dict[str, list[LayerInfo]] = {}
    for layer in layers.values():
        takers.setdefault(levels.entry(layer).origin, []).append(layer)
    asymmetric_of = {levels.asymmetric(layer)[1] for layer in layers.values()}
    for name, level in levels.by_name.items():
        if name not in layers:
            yield f"{level.origin} has no effect: {name!r} is skipped"
        elif level.settings == CalibrationConfig() and len(levels.of(layers[name])) == 1:
            yield f"{level.origin} has no effect: it sets nothing for {name!r}"
        elif level.settings.weights is not None and not layers[name].has_weights:
            yield f"{level.origin}: {_weight_block(level)} has no effect: {name!r} has no weights"
        else:
            yield from _idle_offset(level)
    types = {layer.type for layer in layers.values()}
    for type, level in levels.by_type.items():
        taking = takers.get(level.origin, [])
        if type not in types:
            yield f"{level.origin} has no effect: no {type} is quantized in this graph"
        elif not taking and level.origin not in asymmetric_of:
            yield f"{level.origin} has no effect: every {type} has an entry in override_layer_configs"
        elif taking:
            yield from _idle_blocks(level, taking, f"no {type} of this graph")
    for level in levels.common:
        taking = takers.get(level.origin, [])
        if taking:
            yield from _idle_blocks(level, taking, "no layer that takes it")
        elif level.settings != CalibrationConfig() and level.origin not in asymmetric_of and layers:
            yield "common_config has no effect: every layer that is quantized has an override"


def _idle_blocks(level: Level, layers: Sequence[LayerInfo], what: str) -> Iterator[str]:
    """What an entry sets without effect on any of the layers that take it; ``what`` names none of these layers."""
    settings, path = level.settings, level.origin
    weighted = any(layer.has_weights for layer in layers)
    if settings.weights is not None and not weighted:
        yield f"{path}: {_weight_block(level)} has no effect: {what} has weights"
    bits = settings.arq_quantize.quant_bits if settings.arq_quantize else None
    if bits in (6, 7) and weighted and not any(layer.type in FEW_BIT_TYPES for layer in layers):
        yield f"{path}: quant_bits : {bits} has no effect: it acts on Conv2D only, and {what} is one"
    if settings.dmq_balancer is not None and not any(layer.can_be_balanced for layer in layers):
        yield f"{path}: dmq_balancer has no effect: it acts on {BALANCED_WORDS}, and {what} is one of these"
    if settings.activation is not None and settings.activation.is_wide and not weighted:
        yield f"{path}: dst_type : INT16 has no effect: {what} has weights"
    yield from _idle_offset(level)
    if settings.activation is not None and settings.activation.asymmetric and all(layer.dynamic for layer in layers):
        yield f"{path}: asymmetric has no effect: products of two activations are quantized symmetrically only"


def _idle_offset(level: Level) -> Iterator[str]:
    activation = level.settings.activation
    if activation is not None and activation.is_wide and activation.asymmetric:
        yield f"{level.origin}: asymmetric has no effect: codes of 16 bits have no offset"


def _weight_block(level: Level) -> str:
    return "arq_quantize" if level.settings.arq_quantize is not None else "nuq_quantize"

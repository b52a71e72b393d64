"""Step: limit weights to the codes that every requested format can hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from calibrant.algorithms.narrow_range import in_narrow_range
from calibrant.steps.weights.quantize_weights import LayerWeights

NARROW_FORMATS = frozenset({"tflite"})


def holdable_weights(weights: Mapping[str, LayerWeights], formats: Collection[str]) -> dict[str, LayerWeights]:
    """The weights, in -127 … 127 if a format cannot hold -128; layers that share a result still share it.

    This comes before observation and bias correction, so that all results of one run have the same weights.
    """
    if not NARROW_FORMATS.intersection(formats):
        return dict(weights)
    narrowed: dict[str, LayerWeights] = {}
    for entry in weights.values():
        if entry.constant not in narrowed:
            narrowed[entry.constant] = replace(entry, quantized=in_narrow_range(entry.quantized, entry.float_values))
    return {name: narrowed[entry.constant] for name, entry in weights.items()}

"""Step: weights that every format asked for can hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from calibrant.algorithms.narrow_range import in_narrow_range
from calibrant.steps.weights import LayerWeights

NARROW_FORMATS = frozenset({"tflite"})


def holdable_weights(weights: Mapping[str, LayerWeights], formats: Collection[str]) -> dict[str, LayerWeights]:
    """The weights, in -127 … 127 where a format cannot hold -128; layers that shared a result go on sharing it.

    It is done before anything is observed or corrected, so that all results of one run have the same weights.
    """
    if not NARROW_FORMATS.intersection(formats):
        return dict(weights)
    made: dict[str, LayerWeights] = {}
    for entry in weights.values():
        if entry.constant not in made:
            made[entry.constant] = replace(entry, quantized=in_narrow_range(entry.quantized, entry.float_values))
    return {name: made[entry.constant] for name, entry in weights.items()}

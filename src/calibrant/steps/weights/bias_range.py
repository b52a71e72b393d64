"""Step: increase scales of weights until every bias fits in int32.

A bias is an int32 in steps of scale_d * scale_w. If a channel's weights are tiny compared with its bias, the bias needs
more than 32 bits with their own scale. With a larger scale each product loses less than 2^-24 of the bias. If all
weights are zero, any scale is right for them, and one that resolves the bias is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from calibrant.algorithms.arq import QuantizedWeights, broadcast_shape
from calibrant.graph.graph import Graph
from calibrant.graph.layers import Layer
from calibrant.steps.weights.quantize_weights import LayerWeights, bias_of

MOST_STEPS = 2.0**30  # half the range of int32; the rest is for products and for a correction of the bias
STEPS_WITHOUT_WEIGHTS = 2.0**20
_LARGEST_SCALE = 2.0**100


def with_held_biases(
    graph: Graph, layers: Mapping[str, Layer], weights: Mapping[str, LayerWeights], scales: Mapping[str, np.float32]
) -> dict[str, LayerWeights]:
    """The weights, with larger scales where a bias needs them; layers that share weights still share them.

    Parameters
    ----------
    graph : Graph
        The float network.
    layers : Mapping[str, Layer]
        Its layers by name.
    weights : Mapping[str, LayerWeights]
        Layer → quantized weights.
    scales : Mapping[str, np.float32]
        Layer with weights → scale_d.
    """
    least: dict[str, np.ndarray] = {}
    for name, entry in weights.items():
        bias = bias_of(graph, layers[name])
        if bias is None:
            continue
        scale = _least_scale(bias, scales[name], entry.quantized)
        other = least.get(entry.constant)
        least[entry.constant] = scale if other is None else np.maximum(other, scale)
    scaled: dict[str, LayerWeights] = {}
    for entry in weights.values():
        if entry.constant not in scaled:
            minimum = least.get(entry.constant)
            scaled[entry.constant] = entry if minimum is None else _with_least_scale(entry, minimum)
    return {name: scaled[entry.constant] for name, entry in weights.items()}


def _least_scale(bias: np.ndarray, scale_d: np.float32, weights: QuantizedWeights) -> np.ndarray:
    """The smallest scales with which the bias fits, float64 in the shape of the scales of the weights."""
    size = np.abs(bias.astype(np.float64))
    if weights.scale.size != size.size:
        size = size.max(keepdims=True)
    return np.minimum(size / (MOST_STEPS * float(scale_d)), _LARGEST_SCALE)


def _with_least_scale(entry: LayerWeights, least: np.ndarray) -> LayerWeights:
    quantized = entry.quantized
    if not entry.float_values.any():
        largest = float(least.max()) * MOST_STEPS / STEPS_WITHOUT_WEIGHTS
        scale = np.full(quantized.scale.shape, min(largest, _LARGEST_SCALE) or 1.0, np.float32)
        return replace(entry, quantized=replace(quantized, scale=scale))
    short = quantized.scale < least
    if not short.any():
        return entry
    scale = np.where(short, least, quantized.scale).astype(np.float32)
    return replace(entry, quantized=_on_scale(quantized, entry.float_values, scale, short))


def _on_scale(
    weights: QuantizedWeights, floats: np.ndarray, scale: np.ndarray, changed: np.ndarray
) -> QuantizedWeights:
    """The weights on a new scale, with new codes for the changed channels; non-uniform weights keep their levels."""
    shape = broadcast_shape(floats.shape, weights.channel_axes)
    steps = floats.astype(np.float32) * (np.float32(1) / scale).reshape(shape)
    half = 1 << (weights.bits - 1)
    codes = np.clip(np.rint(steps), 1 - half, half - 1)
    if weights.levels is not None:
        levels = np.array(weights.levels)
        codes = levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, steps)]
    values = np.where(changed.reshape(shape), codes, weights.values).astype(np.int8)
    return replace(weights, values=values, scale=scale)

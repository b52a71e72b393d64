"""Step: weights with a scale for each output channel for dense layers, which a configuration gives one scale.

Formats whose kernels have them (LiteRT's FULLY_CONNECTED) may use them in the place of the layer's own weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from calibrant.config.plan import LayerPlan
from calibrant.graph.layers import Layer
from calibrant.steps.weights.quantize_weights import LayerWeights, quantize_by_plan

OUTPUTS = (1,)
"""The axis of a dense layer's weights that numbers its output channels."""


def dense_channel_weights(
    layers: Mapping[str, Layer], weights: Mapping[str, LayerWeights], plans: tuple[LayerPlan, ...]
) -> dict[str, LayerWeights]:
    """Dense layer → its weights with a scale for each channel; layers that share weights share them here as well.

    Parameters
    ----------
    layers : Mapping[str, Layer]
        By name.
    weights : Mapping[str, LayerWeights]
        Layer → the weights that the configuration asks for.
    plans : tuple[LayerPlan, ...]
        Settings of the layers; non-uniform weights stay non-uniform.
    """
    by_constant: dict[str, LayerWeights] = {}
    for plan in plans:
        entry = weights.get(plan.name)
        if entry is None or plan.weights is None or layers[plan.name].channel_axes or entry.constant in by_constant:
            continue
        settings = replace(plan.weights, channel_wise=True)
        by_constant[entry.constant] = replace(entry, quantized=quantize_by_plan(entry.float_values, settings, OUTPUTS))
    return {name: by_constant[entry.constant] for name, entry in weights.items() if entry.constant in by_constant}

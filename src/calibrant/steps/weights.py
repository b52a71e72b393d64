"""Step: the weights of every layer onto their grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from calibrant.algorithms.arq import QuantizedWeights, quantize_weights
from calibrant.algorithms.nuq import quantize_weights_nonuniform
from calibrant.config.plan import LayerPlan, WeightPlan
from calibrant.errors import ConfigError, ModelError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.layers import Layer


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """Float weights of one layer (float32, the layer's own layout) and the integers that stand for them.

    ``constant`` is the name of the constant that holds them; layers with the same constant share one result.
    """

    constant: str
    float_values: np.ndarray
    quantized: QuantizedWeights


def quantize_all_weights(
    graph: Graph, layers: Mapping[str, Layer], plans: tuple[LayerPlan, ...]
) -> dict[str, LayerWeights]:
    """Quantize the weights of every planned layer; layers that share a constant share one result.

    Raises
    ------
    ModelError : weights with NaN or infinity; names the layer.
    ConfigError : layers share their weights but ask for different settings.
    """
    by_constant: dict[str, tuple[LayerPlan, LayerWeights]] = {}
    result: dict[str, LayerWeights] = {}
    problems: list[Problem] = []
    planned = [plan for plan in plans if plan.weights is not None and layers[plan.name].constant is not None]
    for plan in planned:
        layer = layers[plan.name]
        tensor = nd.data_inputs(graph.nodes[layer.name])[layer.weight_input]
        known = by_constant.get(layer.constant)
        if known is None:
            values = np.asarray(graph.constant(tensor), np.float32)
            try:
                found = LayerWeights(layer.constant, values, _quantize(values, plan.weights, layer))
            except ValueError as error:
                problems.append(Problem(str(error), file=graph.source, path=layer.name))
                continue
            by_constant[layer.constant] = (plan, found)
            result[plan.name] = found
        elif known[0].weights != plan.weights:
            raise _cannot_share(plan, known[0], "give both the same override_layer_configs block, or skip one")
        else:
            result[plan.name] = known[1]
    if problems:
        raise ModelError(*problems)
    return result


def _cannot_share(plan: LayerPlan, other: LayerPlan, hint: str) -> ConfigError:
    message = f"shares its weights with {other.name!r}, but the two need different factors"
    return ConfigError(Problem(message, path=plan.name, allowed="the same weight settings for both", hint=hint))


def _quantize(values: np.ndarray, plan: WeightPlan, layer: Layer) -> QuantizedWeights:
    axes = layer.channel_axes if plan.channel_wise else ()
    if plan.algorithm == "nuq":
        return quantize_weights_nonuniform(values, axes, plan.num_steps, plan.num_of_iteration)
    return quantize_weights(values, plan.bits, axes)


def with_quantized_weights(graph: Graph, layers: Mapping[str, Layer], weights: Mapping[str, LayerWeights]) -> Graph:
    """The graph with dequantized weights and float activations: what is calibrated without bias correction."""
    edit = graph.edit()
    placed: dict[str, str] = {}
    for name, entry in weights.items():
        key = entry.constant
        if key not in placed:
            dtype = graph.dtype(f"{name}:0").as_numpy_dtype
            placed[key] = edit.add_constant(f"{name}/weights_quantized", entry.quantized.dequantize().astype(dtype))
        edit.set_input(name, layers[name].weight_input, placed[key])
    return edit.finish()


def bias_of(graph: Graph, layer: Layer, correction: np.ndarray | None = None) -> np.ndarray | None:
    """The bias of a layer with weights, float32, shape (channels,); ``correction`` is added where there is one."""
    if layer.bias is None or layer.constant is None:
        return None
    bias = np.asarray(graph.constant(nd.data_inputs(graph.nodes[layer.bias])[1]), np.float32)
    return bias if correction is None else (bias + correction).astype(np.float32)

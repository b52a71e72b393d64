"""Step: quantize the weights of every layer."""

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
from calibrant.graph.node_input import read_tensor


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """Weights of one layer, float and quantized.

    Parameters
    ----------
    constant : str
        Name of the Const node that holds them; layers with the same constant share one result.
    float_values : np.ndarray
        Float weights, float32, in the layer's own layout.
    quantized : QuantizedWeights
        The integers and scales that replace them.
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
    ModelError
        Weights with NaN or infinity; names the layer.
    ConfigError
        Layers share their weights but ask for different settings.
    """
    by_constant: dict[str, tuple[LayerPlan, WeightPlan, LayerWeights]] = {}
    result: dict[str, LayerWeights] = {}
    problems: list[Problem] = []
    planned = [(plan, plan.weights) for plan in plans if plan.weights is not None and layers[plan.name].constant]
    for plan, settings in planned:
        layer = layers[plan.name]
        constant = layer.weights_constant
        if constant not in by_constant:
            values = np.asarray(graph.require_constant(read_tensor(graph, layer.weights_place)), np.float32)
            try:
                weights = LayerWeights(constant, values, quantize_by_plan(values, settings, layer.channel_axes))
            except ValueError as error:
                problems.append(Problem(str(error), file=graph.source, path=layer.name))
                continue
            by_constant[constant] = (plan, settings, weights)
        other, other_settings, weights = by_constant[constant]
        if other_settings != settings:
            raise _cannot_share(plan, other, "give both the same override_layer_configs block, or skip one")
        result[plan.name] = weights
    if problems:
        raise ModelError(*problems)
    return result


def _cannot_share(plan: LayerPlan, other: LayerPlan, hint: str) -> ConfigError:
    message = f"shares its weights with {other.name!r}, but the two need different weight settings"
    return ConfigError(Problem(message, path=plan.name, allowed="the same weight settings for both", hint=hint))


def quantize_by_plan(values: np.ndarray, plan: WeightPlan, channel_axes: tuple[int, ...]) -> QuantizedWeights:
    """Quantize weights as planned; ``channel_axes`` number their channels.

    Raises
    ------
    ValueError
        Weights are NaN or infinite.
    """
    axes = channel_axes if plan.channel_wise else ()
    if plan.algorithm != "nuq":
        return quantize_weights(values, plan.bits, axes)
    if plan.num_steps is None or plan.num_of_iteration is None:
        raise ValueError("non-uniform weights need num_steps and num_of_iteration")
    return quantize_weights_nonuniform(values, axes, plan.num_steps, plan.num_of_iteration)


def with_quantized_weights(graph: Graph, layers: Mapping[str, Layer], weights: Mapping[str, LayerWeights]) -> Graph:
    """The graph with dequantized weights and float activations, which is calibrated without bias correction."""
    edit = graph.edit()
    placed: dict[str, str] = {}
    for name, entry in weights.items():
        key = entry.constant
        if key not in placed:
            dtype = graph.dtype(f"{name}:0").as_numpy_dtype
            placed[key] = edit.add_constant(f"{name}/weights_quantized", entry.quantized.dequantize().astype(dtype))
        edit.set_input(*layers[name].weights_place, placed[key])
    return edit.finish()


def bias_of(graph: Graph, layer: Layer, correction: np.ndarray | None = None) -> np.ndarray | None:
    """The bias of a layer with weights, float32, shape (channels,), with ``correction`` added to it.

    Raises
    ------
    ModelError
        It contains NaN.
    """
    if layer.bias is None or layer.constant is None:
        return None
    bias = np.asarray(graph.constant(nd.data_inputs(graph.nodes[layer.bias])[1]), np.float32)
    if np.isnan(bias).any():
        raise ModelError(Problem("the bias contains NaN", file=graph.source, path=layer.bias))
    return bias if correction is None else (bias + correction).astype(np.float32)

"""Step: correct every bias for the change of the mean output that quantizing the weights causes.

The shift is the mean over batch and positions of conv(x, W - W_quantized), which is exact from the mean input patch
(``calibrant.algorithms.patch_mean``): one pass over the data gives both it and the ranges.

References
----------
M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019, section 4.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from calibrant.algorithms.patch_mean import ConvAxis, PatchGeometry, PatchMean, mean_of_outputs
from calibrant.errors import ModelError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.channel_order import is_channels_first
from calibrant.graph.graph import Graph
from calibrant.graph.layers import Layer
from calibrant.graph.node_input import read_tensor
from calibrant.graph.tf_core import NodeDef
from calibrant.layer_kinds import KINDS, LayerKind
from calibrant.steps.weights.quantize_weights import LayerWeights


def with_biases(graph: Graph, layers: Mapping[str, Layer], names: list[str]) -> tuple[Graph, dict[str, Layer]]:
    """Add a bias of zeros, ``LAYER/bias``, to each named layer that has weights but no bias; its readers read the sum.

    If such a layer is an output of the graph, its bias becomes the output; see ``QuantizedNetwork.output_tensors``.
    """
    edit = graph.edit()
    result = dict(layers)
    renamed: dict[str, str] = {}
    for name in names:
        layer = layers[name]
        if layer.constant is None or layer.bias is not None:
            continue
        node, tensor = graph.nodes[name], f"{name}:0"
        channels = math.prod(layer.weights_shape[axis] for axis in layer.output_axes)
        zeros = edit.add_constant(f"{name}/bias/zeros", np.zeros(channels, graph.dtype(tensor).as_numpy_dtype))
        bias = edit.add(
            "BiasAdd",
            f"{name}/bias",
            [tensor, zeros],
            T=graph.dtype(tensor),
            data_format="NCHW" if is_channels_first(node) else "NHWC",
        )
        for reader, index in graph.consumers(tensor):
            edit.set_input(reader.name, index, bias)
        result[name] = replace(layer, bias=nd.node_name(bias))
        renamed[tensor] = bias
    if not renamed:
        return graph, result
    outputs = tuple(renamed.get(nd.tensor_name(output), output) for output in graph.outputs)
    return edit.finish(outputs=outputs), result


def patch_geometry(graph: Graph, layer: Layer) -> PatchGeometry:
    """How the kernel of a layer with weights moves over its input."""
    outputs = graph.shape(f"{layer.name}:0") if KINDS[layer.type].transposed else None
    return kernel_geometry(graph.nodes[layer.name], KINDS[layer.type], layer.weights_shape, outputs)


def kernel_geometry(
    node: NodeDef, kind: LayerKind, weights_shape: Sequence[int], outputs: Sequence[int | None] | None = None
) -> PatchGeometry:
    """How the kernel of a node moves; ``outputs`` is the shape of its result, where it is a transposed convolution."""
    if not kind.spatial:
        return PatchGeometry()
    first = is_channels_first(node)
    spatial = tuple(range(2, 2 + kind.spatial) if first else range(1, 1 + kind.spatial))
    strides = nd.attribute(node, "strides")
    dilations = nd.attribute(node, "dilations") or [1] * (kind.spatial + 2)
    padding = nd.attribute(node, "padding")
    explicit = nd.attribute(node, "explicit_paddings") or []
    windows = tuple(
        ConvAxis(
            size=weights_shape[place],
            stride=strides[axis],
            dilation=dilations[axis],
            padding=(explicit[2 * axis], explicit[2 * axis + 1]) if padding == "EXPLICIT" else padding,
            transposed=kind.transposed,
            outputs=outputs[axis] if outputs is not None else None,
        )
        for place, axis in enumerate(spatial)
    )
    return PatchGeometry(1 if first else -1, spatial, windows)


def patch_statistics(
    graph: Graph, layers: Mapping[str, Layer], weights: Mapping[str, LayerWeights]
) -> dict[tuple[str, PatchGeometry], PatchMean]:
    """(tensor, geometry) → accumulator, for every layer with quantized weights; equal ones are shared."""
    places = (patch_place(graph, layers[name]) for name in weights)
    return {place: PatchMean(place[1]) for place in dict.fromkeys(places)}


def patch_place(graph: Graph, layer: Layer) -> tuple[str, PatchGeometry]:
    """The tensor that a layer with weights reads, and how its kernel moves over it."""
    tensor = read_tensor(graph, (layer.name, layer.data_inputs[0]))
    return tensor, patch_geometry(graph, layer)


def bias_corrections(
    graph: Graph,
    layers: Mapping[str, Layer],
    weights: Mapping[str, LayerWeights],
    patches: Mapping[tuple[str, PatchGeometry], PatchMean],
    shifts: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Layer → addend of its bias, float64 [output channels].

    Parameters
    ----------
    shifts : Mapping[str, np.ndarray]
        Layer → a further addend, as of ``Prepared``.

    Raises
    ------
    ModelError
        The data have other channels than the weights of a layer that nothing ran.
    """
    result = {}
    for name, entry in weights.items():
        error = entry.float_values.astype(np.float64) - entry.quantized.dequantize()
        if KINDS[layers[name].type].transposed:
            error = np.swapaxes(error, -1, -2)
        depthwise = len(layers[name].channel_axes) == 2
        patch, inputs = patches[patch_place(graph, layers[name])].mean(), error.shape[-2]
        if patch.shape[-1] % inputs or (depthwise and patch.shape[-1] != inputs):
            message = f"its weights are for {inputs} channels, but what it reads has {patch.shape[-1]}"
            raise ModelError(Problem(message, file=graph.source, path=name))
        result[name] = mean_of_outputs(patch, error, depthwise) + shifts.get(name, 0.0)
    return result

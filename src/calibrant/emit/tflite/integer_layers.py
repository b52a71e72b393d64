"""Layers of the simulation that compute as LiteRT's integer kernels do: sums of codes, multiplied once.

A kernel adds products of codes and the bias as integers, and multiplies the sum by one float32 per channel. The sum of
dequantized values is the same number, but float32 rounds it on the way, and now and then that decides a code. Here the
codes are held in float32 where no sum can reach 2^24, so that float32 holds every partial sum exactly in any order, and
in float64 elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from tensorflow.python.framework import dtypes

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.emit.tflite.converter_graph import effective
from calibrant.emit.tflite.integer_part import fused_end
from calibrant.emit.tflite.simulated_codes import codes_read, end_at_six, quantizer_behind, round_instead
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.layers import KINDS
from calibrant.quantized_network import QuantizedLayer, QuantizedNetwork

EXACT_IN_FLOAT32 = 2**24
TYPES = ("T", "Ta", "Tb", "Tout")


def layers_on_integers(edit: Edit, network: QuantizedNetwork, factors: Mapping[str, Quantizer]) -> None:
    """Let the layers of a fake-quantized graph add up codes.

    Parameters
    ----------
    edit : of the simulation, with a quantizer behind every tensor of ``factors``.
    network : what it was made from.
    """
    placed: dict[int, str] = {}
    for layer in network.layers:
        end = fused_end(network.graph, layer.layer.name, layer.layer.bias) if layer.weights is not None else None
        made = f"{end or layer.layer.name}:0"
        if layer.layer.type != "AvgPool" and made in factors and network.graph.dtype(made) == dtypes.float32:
            _on_integers(edit, network, layer, made, factors[made], placed)


def _on_integers(
    edit: Edit,
    network: QuantizedNetwork,
    layer: QuantizedLayer,
    made: str,
    result: Quantizer,
    placed: dict[int, str],
) -> None:
    quantizers = [effective(network, found.quantizer) for found in layer.inputs]
    exact = largest_sum(network.graph, layer, quantizers) < EXACT_IN_FLOAT32
    dtype = dtypes.float32 if exact else dtypes.float64
    for found in layer.inputs:
        codes = codes_read(edit, found.node, found.index)
        if not exact:
            codes = edit.add("Cast", f"{found.node}/wide", [codes], SrcT=dtypes.float32, DstT=dtype)
        edit.set_input(found.node, found.index, codes)
    if layer.weights is not None:
        if id(layer.weights) not in placed:
            codes = layer.weights.values.astype(dtype.as_numpy_dtype)
            placed[id(layer.weights)] = edit.add_constant(f"{layer.layer.name}/weight_codes", codes)
        edit.set_input(layer.layer.name, layer.layer.weight_input, placed[id(layer.weights)])
    if layer.bias is not None:
        codes = layer.integer_bias(quantizers[0]).astype(dtype.as_numpy_dtype)
        edit.set_input(layer.layer.bias, 1, edit.add_constant(f"{layer.layer.name}/bias_codes", codes))
    inside = (layer.layer.name, layer.layer.bias, nd.node_name(made))
    for name in dict.fromkeys(name for name in inside if name is not None):
        node = nd.copy_node(edit.nodes[name])
        for key in TYPES:
            if key in node.attr:
                node.attr[key].type = dtype.as_datatype_enum
        edit.put(node)
    end_at_six(edit, nd.node_name(made), result)
    multipliers = multiplier(network.graph, layer, quantizers, result)
    round_instead(edit, quantizer_behind(made), made, multipliers, wide=not exact)


def multiplier(graph: Graph, layer: QuantizedLayer, quantizers: list[Quantizer], result: Quantizer) -> np.ndarray:
    """What a kernel multiplies its sums by: scale * scale / result's scale, float32 after each of the two steps."""
    other = layer.weights.scale if layer.weights is not None else np.array([quantizers[1].scale])
    scales = (quantizers[0].scale * other.astype(np.float32)) / result.scale
    channels_first = nd.attribute(graph.nodes[layer.layer.name], "data_format") == "NCHW"
    return scales.reshape(-1, 1, 1) if channels_first else scales


def largest_sum(graph: Graph, layer: QuantizedLayer, quantizers: list[Quantizer]) -> float:
    """A bound of every sum and partial sum of a layer in absolute value, the bias among it; inf where none is known."""
    reaches = [max(q.highest - q.offset, q.offset - q.lowest) for q in quantizers]
    if layer.weights is None:
        shape = graph.shape(nd.data_inputs(graph.nodes[layer.layer.name])[0])
        terms = shape[-1] if shape else None
        return np.inf if terms is None else float(terms) * reaches[0] * reaches[1]
    codes = np.abs(layer.weights.values.astype(np.int64))
    channel_axes = KINDS[layer.layer.type].channel_axes or (codes.ndim - 1,)
    others = tuple(axis for axis in range(codes.ndim) if axis not in channel_axes)
    bias = 0 if layer.bias is None else np.abs(layer.integer_bias(quantizers[0]).astype(np.int64)).max()
    return float(codes.sum(axis=others).max()) * reaches[0] + float(bias)

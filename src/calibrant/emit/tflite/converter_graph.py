"""The graph that TensorFlow's converter turns into a LiteRT file: the float network with FakeQuant operations.

It is made from the factors, not from the fake-quantized model: the converter recognises FakeQuant operations only. What
they compute does not matter, as they vanish in the conversion; what counts is that scale and offset come back.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tensorflow.python.framework import dtypes

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.emit.tflite.float_kernels import powers_as_products, same_reciprocal_roots
from calibrant.emit.tflite.integer_part import IntegerPart, Own, SameAs, Source
from calibrant.emit.tflite.keep_in_float import keep_in_float
from calibrant.emit.tflite.pooling import image_axes, is_global_pool
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.quantized_network import QuantizedLayer, QuantizedNetwork

HIGHEST_WEIGHT = 127
LEAST_SCALE = 1e-8


def tensor_factors(network: QuantizedNetwork, part: IntegerPart) -> dict[str, Quantizer]:
    """Scale and offset of every tensor of the integer part."""
    at_place = place_factors(network)

    def found(source: Source, tensor: str) -> Quantizer:
        if isinstance(source, SameAs):
            return found(part.sources[source.tensor], source.tensor)
        if source is Own.OBSERVED:
            return effective(network, network.intermediate[tensor].quantizer)
        return source if isinstance(source, Quantizer) else at_place[source]

    return {tensor: found(source, tensor) for tensor, source in part.sources.items()}


def place_factors(network: QuantizedNetwork) -> dict[tuple[str, int], Quantizer]:
    """Scale and offset with which nodes read, by node and input index."""
    return {(found.node, found.index): effective(network, found.quantizer) for found in network.every_input()}


def effective(network: QuantizedNetwork, quantizer: Quantizer) -> Quantizer:
    """The factors as the fake-quantized model uses them."""
    return quantizer.with_float16_scale() if network.force_float16_scale else quantizer


def converter_graph(network: QuantizedNetwork, part: IntegerPart) -> Graph:
    """The network with FakeQuant behind every tensor of the integer part, at every place, and on the weights."""
    graph, edit = network.graph, network.graph.edit()
    factors = tensor_factors(network, part)
    outputs = list(graph.outputs)
    quantized: dict[tuple[str, Quantizer], str] = {}
    for tensor, quantizer in factors.items():
        quantized[tensor, quantizer] = _fake_quant(edit, tensor, quantizer)
        for reader, index in graph.consumers(tensor):
            edit.set_input(reader.name, index, quantized[tensor, quantizer])
        outputs = [quantized[tensor, quantizer] if output == tensor else output for output in outputs]
    for found in network.every_input():
        key = (found.tensor, effective(network, found.quantizer))
        if key not in quantized:
            source = quantized.get((found.tensor, factors.get(found.tensor)), found.tensor)
            quantized[key] = _fake_quant(edit, source, key[1])
        edit.set_input(found.node, found.index, quantized[key])
    weights: dict[int, str] = {}
    for layer in network.layers:
        if layer.weights is not None:
            if id(layer.weights) not in weights:
                weights[id(layer.weights)] = _weights(edit, layer)
            edit.set_input(layer.layer.name, layer.layer.weight_input, weights[id(layer.weights)])
        if layer.bias is not None:
            quantizer = effective(network, layer.inputs[0].quantizer)
            values = layer.integer_bias(quantizer) * layer.bias_scale(quantizer)
            name = f"{layer.layer.name}/bias_quantized"
            edit.set_input(layer.layer.bias, 1, edit.add_constant(name, values.astype(np.float32)))
    keep_in_float(edit, part, frozenset(found.tensor for found in network.every_input()))
    _replace_what_does_not_convert(edit)
    same_reciprocal_roots(edit)
    powers_as_products(edit)
    return edit.finish(outputs=tuple(outputs))


def real_range(quantizer: Quantizer) -> tuple[np.float32, np.float32]:
    """The float32 ends of a FakeQuant whose scale, (max - min) / 255, comes nearest to the quantizer's."""
    scale = float(quantizer.scale)
    low, high = (quantizer.lowest - quantizer.offset) * scale, (quantizer.highest - quantizer.offset) * scale
    return np.float32(low), np.float32(high)


def _fake_quant(edit: Edit, tensor: str, quantizer: Quantizer) -> str:
    name = nd.input_reference(tensor).replace(":", "_") + "/quantized"
    low, high = real_range(quantizer)
    ends = (edit.add_constant(f"{name}/{end}", value) for end, value in (("low", low), ("high", high)))
    return edit.add("FakeQuantWithMinMaxVars", name, [tensor, *ends], num_bits=8, narrow_range=False)


def seen_scale(layer: QuantizedLayer) -> np.ndarray:
    """The weights' scales as the converter sees them; the layer's own are put in afterwards.

    They are one for all where it cannot follow channels: between a transposed convolution and its weights it
    transposes, and loses their axis. They are at least LEAST_SCALE: it widens narrower ranges of weights.
    """
    scale = np.maximum(layer.weights.scale, np.float32(LEAST_SCALE))
    return scale.max(keepdims=True) if layer.layer.type == "Conv2DBackpropInput" else scale


def _weights(edit: Edit, layer: QuantizedLayer) -> str:
    """The dequantized weights behind a FakeQuant that the converter turns into exactly the integers they came from."""
    name, weights, scale = f"{layer.layer.name}/weights_quantized", layer.weights, seen_scale(layer)
    axes = weights.channel_axes if scale.size > 1 else ()
    values = replace(weights, scale=scale).dequantize() if scale.size == weights.scale.size else weights.values * scale
    ends = HIGHEST_WEIGHT * scale
    if not axes:
        return _fake_quant_weights(edit, name, "FakeQuantWithMinMaxVars", values, ends[0])
    order = (*(axis for axis in range(values.ndim) if axis not in axes), *axes)
    moved = np.transpose(values, order)
    shape = (*moved.shape[: values.ndim - len(axes)], *(1,) * (len(axes) - 1), weights.scale.size)
    tensor = _fake_quant_weights(edit, name, "FakeQuantWithMinMaxVarsPerChannel", moved.reshape(shape), ends)
    if shape != moved.shape:
        target = edit.add_constant(f"{name}/shape", np.array(moved.shape, np.int32))
        tensor = edit.add("Reshape", f"{name}/reshaped", [tensor, target], T=dtypes.float32, Tshape=dtypes.int32)
    return tensor


def _fake_quant_weights(edit: Edit, name: str, op: str, values: np.ndarray, ends: np.ndarray) -> str:
    constants = (("", values), ("/low", -ends), ("/high", ends))
    inputs = [edit.add_constant(f"{name}{end}", np.asarray(value, np.float32)) for end, value in constants]
    return edit.add(op, f"{name}/fake", inputs, num_bits=8, narrow_range=True)


def _replace_what_does_not_convert(edit: Edit) -> None:
    """ClipByValue, and AvgPool over whole images, become operations that mean the same.

    The kernel of AvgPool keeps its input's factors, which are several times too coarse for an average over a whole
    image; the one of Mean rounds once, to the factors of what comes next.
    """
    for node in list(edit.nodes.values()):
        controls = tuple(f"^{name}" for name in nd.control_inputs(node))
        if node.op == "ClipByValue":
            values, low, high = nd.data_inputs(node)
            bounded = edit.add("Minimum", f"{node.name}/bounded", [values, high], T=node.attr["T"])
            edit.put(nd.make_node("Maximum", node.name, [bounded, low, *controls], T=node.attr["T"]))
        elif node.op == "AvgPool" and is_global_pool(edit.graph, edit.graph.nodes[node.name]):
            axes = edit.add_constant(f"{node.name}/axes", np.array(image_axes(node), np.int32))
            inputs = [*nd.data_inputs(node), axes, *controls]
            edit.put(nd.make_node("Mean", node.name, inputs, T=dtypes.float32, Tidx=dtypes.int32, keep_dims=True))

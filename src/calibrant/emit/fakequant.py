"""The fake-quantized model: stock operations only, the numbers of the integer network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.emit.output_names import with_output_names
from calibrant.emit.two_terms import with_two_terms
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.tf_core import AttrValue, TensorShapeProto, dtypes
from calibrant.layer_kinds import KINDS
from calibrant.quantized_network import QuantizedInput, QuantizedLayer, QuantizedNetwork


def fake_quantized(network: QuantizedNetwork) -> Graph:
    """The graph with quantize/dequantize on every quantized activation, and quantized weights and biases."""
    network = with_two_terms(network).network
    edit = network.graph.edit()
    shared: dict[tuple[str, Quantizer], str] = {}
    for entry in network.every_input():
        quantizer = entry.quantizer.with_float16_scale() if network.force_float16_scale else entry.quantizer
        key = (entry.tensor, quantizer)
        if key not in shared:
            shared[key] = _quantize_dequantize(edit, entry, quantizer)
        edit.set_input(entry.node, entry.index, shared[key])
    placed: dict[str, str] = {}
    for layer in network.layers:
        if layer.weights is not None:
            put_weights(edit, layer, layer.weights.dequantize(), placed)
        if layer.bias is not None:
            quantizer = layer.inputs[0].quantizer
            _put_bias(edit, layer, quantizer.with_float16_scale() if network.force_float16_scale else quantizer)
    _add_biases_of_groups(edit)
    return with_output_names(edit.finish(), network.output_tensors)


def fake_quantized_unnamed(network: QuantizedNetwork) -> Graph:
    """What :func:`fake_quantized` makes, with nodes called as in the network's graph, those of outputs too."""
    return fake_quantized(replace(network, output_tensors=()))


def _quantize_dequantize(edit: Edit, entry: QuantizedInput, quantizer: Quantizer) -> str:
    """Mul, Round, AddV2, clip, Sub, Mul: the quantizer's arithmetic, operation by operation; the dequantized tensor.

    TensorFlow's optimizer, on by default, must not change it. Scale and offset are constants that a caller could
    replace: plain ones would be multiplied into the weights of an adjacent convolution or into another factor, or be
    removed (an offset of zero, which turns -0 into 0). The first product is a MulNoNan, which is the same for a factor
    other than zero: a plain Mul would be combined with products before it.
    """
    graph = edit.graph
    scope = (
        f"{entry.node}/act_quant"
        if entry.index == _first_index(graph, entry)
        else f"{entry.node}/act_quant_{entry.index}"
    )
    dtype = graph.dtype(entry.tensor)
    tensor = entry.tensor
    if dtype != dtypes.float32:
        tensor = edit.add("Cast", f"{scope}/to_float32", [tensor], SrcT=dtype, DstT=dtypes.float32)

    def scalar(name: str, value: float | np.floating) -> str:
        return edit.add_constant(f"{scope}/{name}", np.float32(value))

    def factor(name: str, value: float | np.floating) -> str:
        shape = AttrValue(shape=TensorShapeProto())
        constant = scalar(f"{name}/value", value)
        return edit.add("PlaceholderWithDefault", f"{scope}/{name}", [constant], dtype=dtypes.float32, shape=shape)

    def step(op: str, name: str, *inputs: str) -> str:
        return edit.add(op, f"{scope}/{name}", inputs, T=dtypes.float32)

    offset = factor("offset", quantizer.offset)
    scaled = step("MulNoNan", "scaled", tensor, factor("inverse_scale", quantizer.inverse))
    shifted = step("AddV2", "shifted", step("Round", "rounded", scaled), offset)
    codes = step(
        "ClipByValue", "codes", shifted, scalar("lowest", quantizer.lowest), scalar("highest", quantizer.highest)
    )
    result = step("Mul", "dequantized", step("Sub", "centred", codes, offset), factor("scale", quantizer.scale))
    if dtype != dtypes.float32:
        result = edit.add("Cast", f"{scope}/from_float32", [result], SrcT=dtypes.float32, DstT=dtype)
    return result


def _add_biases_of_groups(edit: Edit) -> None:
    """Let AddV2 add the biases of grouped convolutions, channels last: the same numbers.

    TensorFlow fuses a convolution with its BiasAdd, and has no such kernel for groups without oneDNN.
    """
    for node in list(edit.nodes.values()):
        if node.op == "BiasAdd" and nd.attribute(node, "data_format", "NHWC") == "NHWC":
            data, bias = nd.data_inputs(node)
            if _is_grouped(edit.graph, nd.node_name(data)):
                references = (data, bias, *nd.control_references(node))
                edit.put(nd.make_node("AddV2", node.name, references, T=nd.attribute(node, "T")))


def _is_grouped(graph: Graph, name: str) -> bool:
    node = graph.nodes.get(name)
    if node is None or node.op != "Conv2D":
        return False
    data, weights = (graph.shape(tensor) for tensor in nd.data_inputs(node)[:2])
    return data is not None and weights is not None and None not in (data[-1], weights[2]) and data[-1] != weights[2]


def _first_index(graph: Graph, entry: QuantizedInput) -> int:
    kind = KINDS.get(graph.nodes[entry.node].op)
    return 0 if kind is None else kind.data_inputs[0]


def put_weights(edit: Edit, layer: QuantizedLayer, values: np.ndarray, placed: dict[str, str]) -> None:
    """Let a layer read new float weights; layers that share integer weights still share one constant.

    ``placed`` maps, across the calls of one rewrite, each set of weights to its constant.
    """
    key = layer.layer.weights_constant
    if key not in placed:
        dtype = edit.graph.dtype(f"{layer.layer.name}:0").as_numpy_dtype
        placed[key] = edit.add_constant(f"{layer.layer.name}/weights_quantized", values.astype(dtype))
    edit.set_input(*layer.layer.weights_place, placed[key])


def _put_bias(edit: Edit, layer: QuantizedLayer, quantizer: Quantizer) -> None:
    rounded = layer.integer_bias(quantizer) * layer.bias_scale(quantizer)
    name = layer.layer.bias_add
    dtype = edit.graph.dtype(f"{name}:0").as_numpy_dtype
    edit.set_input(name, 1, edit.add_constant(f"{layer.layer.name}/bias_quantized", rounded.astype(dtype)))

"""The fake-quantized model: stock operations only, the numbers of the integer network."""

from __future__ import annotations

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.emit.output_names import with_output_names
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.tf_core import AttrValue, TensorShapeProto, dtypes
from calibrant.layer_kinds import KINDS
from calibrant.quantized_network import QuantizedInput, QuantizedLayer, QuantizedNetwork


def fake_quantized(network: QuantizedNetwork) -> Graph:
    """The graph with quantize/dequantize on every quantized activation, and weights and biases on their grids."""
    edit = network.graph.edit()
    shared: dict[tuple[str, Quantizer], str] = {}
    for found in network.every_input():
        quantizer = found.quantizer.with_float16_scale() if network.force_float16_scale else found.quantizer
        key = (found.tensor, quantizer)
        if key not in shared:
            shared[key] = _quantize_dequantize(edit, found, quantizer)
        edit.set_input(found.node, found.index, shared[key])
    placed: dict[str, str] = {}
    for layer in network.layers:
        if layer.weights is not None:
            put_weights(edit, layer, layer.weights.dequantize(), placed)
        if layer.bias is not None:
            quantizer = layer.inputs[0].quantizer
            _put_bias(edit, layer, quantizer.with_float16_scale() if network.force_float16_scale else quantizer)
    return with_output_names(edit.finish(), network.output_tensors)


def _quantize_dequantize(edit: Edit, found: QuantizedInput, quantizer: Quantizer) -> str:
    """Mul, Round, AddV2, clip, Sub, Mul: the quantizer's arithmetic operation for operation; the dequantized tensor.

    Written so that TensorFlow's optimizer, on by default, leaves it alone. Scale and offset are constants that a caller
    could replace: plain ones would be multiplied into the weights of a convolution beside them or into another factor,
    or be left out (an offset of zero, which makes -0 to 0). The first product is a MulNoNan, which is the same for a
    factor that is not zero: a plain one would be regrouped with products in front of it.
    """
    graph = edit.graph
    scope = (
        f"{found.node}/act_quant"
        if found.index == _first_index(graph, found)
        else f"{found.node}/act_quant_{found.index}"
    )
    dtype = graph.dtype(found.tensor)
    tensor = found.tensor
    if dtype != dtypes.float32:
        tensor = edit.add("Cast", f"{scope}/to_float32", [tensor], SrcT=dtype, DstT=dtypes.float32)

    def scalar(name: str, value: float) -> str:
        return edit.add_constant(f"{scope}/{name}", np.float32(value))

    def factor(name: str, value: float) -> str:
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


def _first_index(graph: Graph, found: QuantizedInput) -> int:
    kind = KINDS.get(graph.nodes[found.node].op)
    return 0 if kind is None else kind.data_inputs[0]


def put_weights(edit: Edit, layer: QuantizedLayer, values: np.ndarray, placed: dict[str, str]) -> None:
    """Let a layer read new float weights; layers that share one set of integer weights go on sharing one constant.

    ``placed`` remembers, across calls of one rewrite, which constant holds which set.
    """
    key = layer.layer.constant
    if key not in placed:
        dtype = edit.graph.dtype(f"{layer.layer.name}:0").as_numpy_dtype
        placed[key] = edit.add_constant(f"{layer.layer.name}/weights_quantized", values.astype(dtype))
    edit.set_input(layer.layer.name, layer.layer.weight_input, placed[key])


def _put_bias(edit: Edit, layer: QuantizedLayer, quantizer: Quantizer) -> None:
    rounded = layer.integer_bias(quantizer) * layer.bias_scale(quantizer)
    dtype = edit.graph.dtype(f"{layer.layer.bias}:0").as_numpy_dtype
    edit.set_input(layer.layer.bias, 1, edit.add_constant(f"{layer.layer.name}/bias_quantized", rounded.astype(dtype)))

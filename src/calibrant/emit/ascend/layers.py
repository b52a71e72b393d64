"""int8 weights and int32 biases before a layer, AscendDequant after it."""

from __future__ import annotations

import numpy as np

from calibrant.algorithms.arq import broadcast_shape
from calibrant.emit.ascend import names
from calibrant.graph import nodes as nd
from calibrant.graph.ascend.deq_scale import pack
from calibrant.graph.graph import Edit
from calibrant.graph.tf_core import dtypes
from calibrant.quantized_network import QuantizedLayer


def put_weights(edit: Edit, layer: QuantizedLayer, placed: dict[str, str]) -> None:
    """Let a layer read its int8 weights; ``placed`` maps weights that several layers share to their tensor."""
    weights, name = layer.require_weights(), layer.layer.name
    key = layer.layer.weights_constant
    if key not in placed:
        offsets = np.zeros(broadcast_shape(weights.values.shape, weights.channel_axes), np.int8)
        constants = [
            edit.add_constant(names.weight_quant(name, "weights"), weights.values),
            edit.add_constant(
                names.weight_quant(name, "offset_w"),
                offsets if weights.channel_axes and offsets.size > 1 else offsets.reshape(1),
            ),
        ]
        placed[key] = edit.add(
            "AscendWeightQuant",
            names.weight_quant(name, "AscendWeightQuant"),
            constants,
            T=edit.graph.dtype(f"{name}:0"),
            dst_type="INT8",
        )
    edit.set_input(*layer.layer.weights_place, placed[key])


def put_bias(edit: Edit, layer: QuantizedLayer) -> None:
    """Let a layer's BiasAdd add int32 steps to the accumulator; a Cast to its float type keeps the graph well typed."""
    name, dtype = layer.layer.bias_add, edit.graph.dtype(f"{layer.layer.bias_add}:0")
    steps = edit.add_constant(f"{layer.layer.name}/bias_quant/bias", layer.integer_bias())
    cast = edit.add("Cast", f"{layer.layer.name}/bias_quant/Cast", [steps], SrcT=dtypes.int32, DstT=dtype)
    edit.set_input(name, 1, cast)


def put_dequant(edit: Edit, layer: QuantizedLayer) -> tuple[str, str]:
    """AscendDequant after a layer or its bias; the tensor in integer steps, and the float tensor to read instead."""
    node = edit.graph.nodes[layer.layer.name]
    data_format = nd.attribute(node, "data_format") or "NHWC"
    steps = f"{layer.layer.bias if layer.bias is not None else node.name}:0"
    packed = edit.add_constant(names.dequant(node.name, "deq_scale"), pack(dequantization_scale(layer)))
    window = [1, 1]
    if node.op == "AvgPool":
        height = data_format.index("H")
        window = nd.attribute(node, "ksize")[height : height + 2]
    dequantized = edit.add(
        "AscendDequant",
        names.dequant(node.name, "AscendDequant"),
        [steps, packed],
        T=edit.graph.dtype(f"{node.name}:0"),
        ksize=window,
        data_format=data_format,
    )
    return steps, dequantized


def dequantization_scale(layer: QuantizedLayer) -> np.ndarray:
    """Value of one step of a layer's accumulator, float32, shape (channels,) or (1,).

    scale_d * scale_w; for a product of two activations the product of both scales, for a pooling scale_d alone.
    """
    scale = np.ones(1, np.float32) if layer.weights is None else layer.weights.scale
    for entry in layer.inputs:
        scale = scale * entry.quantizer.scale
    return scale.astype(np.float32)

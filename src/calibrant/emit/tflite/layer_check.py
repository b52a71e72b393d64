"""Finding every quantized layer in a converted file, and holding its numbers against the factors.

The converter's own arithmetic leaves scales one float32 step beside ours and rounds biases by itself; what is found is
therefore set to exactly our numbers. What is not found is an error: a file in which a layer silently became float, or
got other factors, is not written.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.emit.tflite.converter_graph import effective, seen_scale
from calibrant.emit.tflite.flatbuffer import File, Operator, Tensor
from calibrant.errors import ModelError, Problem
from calibrant.quantized_network import QuantizedLayer, QuantizedNetwork

KERNELS = {
    "Conv2D": ("CONV_2D", "DEPTHWISE_CONV_2D"),
    "DepthwiseConv2dNative": ("DEPTHWISE_CONV_2D", "CONV_2D"),
    "Conv2DBackpropInput": ("TRANSPOSE_CONV",),
    "MatMul": ("FULLY_CONNECTED", "BATCH_MATMUL"),
    "BatchMatMul": ("FULLY_CONNECTED", "BATCH_MATMUL"),
    "BatchMatMulV2": ("FULLY_CONNECTED", "BATCH_MATMUL"),
    "BatchMatMulV3": ("FULLY_CONNECTED", "BATCH_MATMUL"),
    "AvgPool": ("AVERAGE_POOL_2D", "MEAN"),
}
NEAR = 1e-6


def check_layers(file: File, network: QuantizedNetwork) -> dict[str, Operator]:
    """Layer → the operator that runs it; scales of weights and biases, and the biases, are set to exactly ours.

    Raises
    ------
    ModelError : layers that are not there on integers with their weights and factors, all of them.
    """
    free = {operator.outputs[0].index: operator for operator in file.operators()}
    found: dict[str, Operator] = {}
    problems = []
    for layer in network.layers:
        quantizers = [effective(network, entry.quantizer) for entry in layer.inputs]
        candidates = [
            operator
            for operator in free.values()
            if operator.name in KERNELS.get(layer.layer.type, ())
            and operator.is_integer
            and _reads(operator, layer, quantizers)
            and (layer.weights is None or _weights_of(operator, layer) is not None)
            and _holds_bias(operator, layer, quantizers[0])
        ]
        named = [operator for operator in candidates if layer.layer.name in operator.outputs[0].name.split(";")]
        chosen = (named or candidates)[:1]
        if not chosen:
            problems.append(_missing(file, network, layer))
            continue
        free.pop(chosen[0].outputs[0].index)
        found[layer.layer.name] = chosen[0]
        _set_numbers(chosen[0], layer, quantizers[0])
    if problems:
        raise ModelError(*problems)
    return found


def set_factors(file: File, known: Mapping[str, Quantizer]) -> None:
    """Give every activation exactly the scale that it was meant to have, where the converter is off by a rounding."""
    quantizers = set(known.values())
    for tensor in file.tensors():
        if tensor.dtype != np.int8 or tensor.scale.size != 1 or tensor.values is not None:
            continue
        near = [quantizer for quantizer in quantizers if _matches(tensor, quantizer)]
        if near:
            scale = float(tensor.scale[0])
            tensor.set_scale(np.array([min((q.scale for q in near), key=lambda s: abs(float(s) - scale))]))


def _matches(tensor: Tensor | None, quantizer: Quantizer) -> bool:
    if tensor is None or tensor.dtype != np.int8 or tensor.scale.size != 1:
        return False
    return tensor.zero_point == quantizer.offset and _near(tensor.scale, np.array([quantizer.scale]))


def _near(found: np.ndarray, wanted: np.ndarray) -> bool:
    return found.shape == wanted.shape and bool(np.all(np.abs(found - wanted) <= NEAR * wanted))


def _reads(operator: Operator, layer: QuantizedLayer, quantizers: list[Quantizer]) -> bool:
    if layer.layer.is_dynamic:
        return all(_matches(*pair) for pair in zip(operator.inputs, quantizers, strict=False))
    place = 2 if operator.name == "TRANSPOSE_CONV" else 0
    return _matches(operator.inputs[place], quantizers[0])


def _weights_of(operator: Operator, layer: QuantizedLayer) -> Tensor | None:
    """The tensor that holds the layer's weights, if it holds exactly these."""
    tensor = operator.inputs[1]
    if tensor is None or tensor.dtype != np.int8 or tensor.values is None:
        return None
    codes = _in_file_layout(operator, layer)
    same = tensor.values.size == codes.size and np.array_equal(tensor.values.reshape(codes.shape), codes)
    scaled = _near(tensor.scale, layer.weights.scale) or _near(tensor.scale, seen_scale(layer))
    return tensor if same and scaled else None


def _in_file_layout(operator: Operator, layer: QuantizedLayer) -> np.ndarray:
    codes = layer.weights.values
    if layer.layer.type == "DepthwiseConv2dNative":
        codes = codes.reshape(1, *codes.shape[:2], -1)
        return np.moveaxis(codes, -1, 0) if operator.name == "CONV_2D" else codes
    if layer.layer.type == "Conv2DBackpropInput":
        return np.moveaxis(codes, 2, 0)
    if layer.layer.type == "Conv2D":
        return np.moveaxis(codes, 3, 0 if operator.name == "CONV_2D" else 3)
    return codes.T if operator.name == "FULLY_CONNECTED" else codes


def _bias_of(operator: Operator) -> Tensor | None:
    """The int32 bias that an operator adds."""
    read = (tensor for tensor in operator.inputs[2:] if tensor is not None)
    return next((tensor for tensor in read if tensor.dtype == np.int32 and tensor.scale.size), None)


def _holds_bias(operator: Operator, layer: QuantizedLayer, quantizer: Quantizer) -> bool:
    """Whether the bias is there, at most one step of the converter's rounding from ours, or is not needed."""
    if layer.bias is None or layer.weights is None:
        return True
    tensor = _bias_of(operator)
    wanted = np.rint(layer.bias / (np.float64(quantizer.scale) * seen_scale(layer)))
    if tensor is None or tensor.values is None:
        return not wanted.any()
    apart = np.abs(tensor.values.astype(np.int64) - wanted)
    return bool(np.all(apart <= 1 + np.abs(wanted) * NEAR))


def _set_numbers(operator: Operator, layer: QuantizedLayer, quantizer: Quantizer) -> None:
    if layer.weights is None:
        return
    operator.inputs[1].set_scale(layer.weights.scale)
    bias = _bias_of(operator)
    if bias is not None:
        bias.set_scale(layer.bias_scale(quantizer).astype(np.float32))
        if layer.bias is not None:
            bias.values = layer.integer_bias(quantizer)


def _missing(file: File, network: QuantizedNetwork, layer: QuantizedLayer) -> Problem:
    name = layer.layer.name
    there = sorted({operator.name for operator in file.operators() if name in operator.outputs[0].name.split(";")})
    reason = f"the converter made {', '.join(there)} of it" if there else "the converter merged or dropped it"
    return Problem(
        f"{layer.layer.type} does not run on an integer kernel with its factors; {reason}",
        file=network.graph.source,
        path=name,
        hint="leave it in float with skip_layers, or export another format",
    )

"""Putting scales, integer weights and biases into a float LiteRT file, operator by operator."""

from __future__ import annotations

from typing import Any

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.emit.tflite.file_parts import Operator, Tensor
from calibrant.emit.tflite.flatbuffer import File
from calibrant.emit.tflite.planning.kernels import KERNELS, ONLY_THE_SHAPE, Result
from calibrant.emit.tflite.planning.own_constants import BIAS_INPUT
from calibrant.emit.tflite.planning.plan import FilePlan
from calibrant.emit.tflite.planning.scales import Scales
from calibrant.emit.tflite.planning.wide import same_codes
from calibrant.emit.tflite.rewrites.volume_convolutions import with_layers_in_channels
from calibrant.emit.tflite.schema import schema
from calibrant.graph import nodes as nd
from calibrant.quantized_network import QuantizedLayer, QuantizedWeights


def quantized_file(file: File, names: dict[int, str], plan: FilePlan, scales: Scales, io: str) -> dict[int, int]:
    """Write the plan into a float file, which is changed.

    Parameters
    ----------
    names : dict[int, str]
        Index of a tensor → the tensor of the graph it is.
    io : str
        Type of the inputs and outputs that have scales, ``'float32'`` or ``'int8'``.

    Returns
    -------
    dict[int, int]
        Position of an operator → its position in the float file; those that only change the type have none.
    """
    writer = _Writer(file, names, plan, scales)
    writer.write(io)
    file.drop_unused()
    return {at: writer.origin[id(raw)] for at, raw in enumerate(writer.written) if id(raw) in writer.origin}


class _Writer:
    def __init__(self, file: File, names: dict[int, str], plan: FilePlan, scales: Scales):
        self.file, self.plan, self.scales = file, plan, scales
        self.operators = list(file.operators())
        self.written: list[Any] = []
        self.origin: dict[int, int] = {}  # identity of an operator → its position in the float file
        self.forms: dict[tuple[int, Quantizer | None], int] = {}  # (tensor, quantizer; None: float) → tensor to read
        self.own: dict[int, Quantizer] = {}  # tensors that integer operators make
        self.constants: dict[tuple[int, Quantizer], int] = {}
        self.placed: dict[tuple[int, str], int] = {}
        self.names = names
        self.taken: set[str] = set()
        self.results = {tensor.index for tensor in file.outputs()}

    def write(self, io: str) -> None:
        self._rename()
        fed = [self._feed(tensor, io) for tensor in self.file.inputs()]
        for at, each in enumerate(self.operators):
            if at in self.plan.integer:
                self._integer(at, each)
            elif each.name not in ONLY_THE_SHAPE:
                each.raw.inputs = [self._in_float(int(index)) for index in each.raw.inputs]
            self.written.append(each.raw)
            self.origin[id(each.raw)] = at
        results = [self._result(tensor, io) for tensor in self.file.outputs()]
        self.file.set_operators(self.written)
        self.file.set_inputs(fed)
        self.file.set_outputs(results)

    def _rename(self) -> None:
        """Tensors get the names that they have in the graph, each its own; what is fed has the first choice."""
        fed = {tensor.index for tensor in self.file.inputs()}

        def turn(tensor: Tensor) -> tuple[bool, bool]:
            return tensor.index not in fed, tensor.index not in self.names

        for tensor in sorted(self.file.tensors(), key=turn):
            known = self.names.get(tensor.index)
            name = nd.input_reference(known) if known is not None else tensor.name.split(";")[0] or "tensor"
            while name in self.taken:
                name = f"{name}_"
            self.taken.add(name)
            tensor.name = name

    def _feed(self, tensor: Tensor, io: str) -> int:
        if io == "int8" and tensor.index in self.plan.sources and tensor.index not in self.plan.wide.tensors:
            self._becomes_integer(tensor, self.scales.of(tensor.index))
        return tensor.index

    def _result(self, tensor: Tensor, io: str) -> int:
        if io != "int8" or tensor.index not in self.own:
            return self._in_float(tensor.index)
        if self.own[tensor.index].bits == 16:
            return self._in_codes(tensor.index, self.scales.of(tensor.index))
        return tensor.index

    def _becomes_integer(self, tensor: Tensor, quantizer: Quantizer) -> None:
        tensor.quantize(quantizer)
        self.own[tensor.index] = quantizer
        self.forms[tensor.index, quantizer] = tensor.index

    def _in_float(self, index: int) -> int:
        """The tensor that holds the values of another one in float."""
        if index not in self.own:
            return index
        if (index, None) not in self.forms:
            tensor = Tensor(self.file, index)
            name = f"{tensor.name}/dequantized"
            if index in self.results:
                name = self._give_name_to_result(tensor)
            self.forms[index, None] = self._dequantized(name, index)
        return self.forms[index, None]

    def _dequantized(self, name: str, index: int) -> int:
        made = self.file.add_tensor(name, Tensor(self.file, index), np.float32)
        self.written.append(self.file.new_operator("DEQUANTIZE", [index], [made.index], schema.DequantizeOptionsT()))
        return made.index

    def _give_name_to_result(self, tensor: Tensor) -> str:
        name, tensor.name = tensor.name, f"{tensor.name}/codes"
        return name

    def _in_codes(self, index: int, quantizer: Quantizer) -> int:
        """The tensor that holds the values of another one as codes of this scale."""
        if (index, quantizer) not in self.forms:
            name = self._new_name(f"{Tensor(self.file, index).name}/quantized")
            self.forms[index, quantizer] = self._quantized(name, index, quantizer)
        return self.forms[index, quantizer]

    def _in_wide_codes(self, index: int, quantizer: Quantizer) -> int:
        """The same codes with 16 bits; no kernel makes them of 8 bits at once."""
        if quantizer.bits == 16:
            return self._in_codes(index, quantizer)
        wide = same_codes(quantizer)
        if (index, wide) not in self.forms:
            narrow = self._in_codes(index, quantizer)
            name = Tensor(self.file, narrow).name
            real = self._dequantized(self._new_name(f"{name}/dequantized"), narrow)
            self.forms[index, wide] = self._quantized(self._new_name(f"{name}/wide"), real, wide)
        return self.forms[index, wide]

    def _quantized(self, name: str, index: int, quantizer: Quantizer) -> int:
        made = self.file.add_tensor(name, Tensor(self.file, index), np.int8, quantizer)
        self.written.append(self.file.new_operator("QUANTIZE", [index], [made.index], schema.QuantizeOptionsT()))
        return made.index

    def _new_name(self, name: str) -> str:
        candidate, number = name, 0
        while candidate in self.taken:
            number += 1
            candidate = f"{name}_{number}"
        self.taken.add(candidate)
        return candidate

    def _constant(self, tensor: Tensor, quantizer: Quantizer) -> int:
        if (tensor.index, quantizer) not in self.constants:
            made = self.file.add_constant(f"{tensor.name}/quantized", quantizer.quantize(tensor.constant))
            made.quantize(quantizer)
            self.constants[tensor.index, quantizer] = made.index
        return self.constants[tensor.index, quantizer]

    def _integer(self, at: int, each: Operator) -> None:
        read = [int(index) for index in each.raw.inputs]
        for position in self.scales.positions(at):
            tensor = each.inputs[position]
            if tensor is None:
                continue
            if tensor.values is None:
                codes = self._in_wide_codes if at in self.plan.wide.layers else self._in_codes
                read[position] = codes(tensor.index, self.scales.read(at, position, tensor))
            else:
                read[position] = self._constant(tensor, self.scales.read(at, position, tensor))
        each.raw.inputs = read
        if each.name == "PRELU":
            alpha = each.read(1)
            low, high = float(alpha.constant.min()), float(alpha.constant.max())
            read[1] = self._constant(alpha, Quantizer.from_range(low, high, asymmetric=False))
        if at in self.plan.layers:
            self._layer(at, each)
        if at in self.plan.layers or KERNELS[each.name].result is not Result.OTHER_TYPE:
            for tensor in each.outputs:
                if tensor.dtype == np.float32:
                    source = tensor.index if tensor.index in self.plan.sources else each.outputs[0].index
                    self._becomes_integer(tensor, self.scales.made(at, source))

    def _layer(self, at: int, each: Operator) -> None:
        layer = self.scales.layers[self.plan.layers[at]]
        if layer.weights is None:
            return
        data = self.scales.positions(at)[0]
        quantizer = self.scales.read(at, data, each.read(data))
        key = (id(layer.weights), each.name)
        if each.name == "BATCH_MATMUL":
            self._as_fully_connected(each)
        if key not in self.placed:
            name = "FULLY_CONNECTED" if each.name == "BATCH_MATMUL" else each.name
            codes, axis = in_file_layout(name, layer, layer.weights)
            made = self.file.add_constant(f"{layer.layer.name}/weight_codes", codes)
            made.set_quantization(layer.weights.scale, 0, axis)
            self.placed[key] = made.index
        read = list(each.raw.inputs)
        read[1] = self.placed[key]
        place = BIAS_INPUT.get(each.name, 2)
        read += [-1] * (place + 1 - len(read))
        size = layer.weights.values.shape[2 if each.name == "TRANSPOSE_CONV" else -1]
        if each.name == "DEPTHWISE_CONV_2D" or layer.layer.type == "DepthwiseConv2dNative":
            size = int(np.prod(layer.weights.values.shape[2:]))
        step = np.float64(quantizer.scale) * layer.weights.scale.astype(np.float64)
        codes = np.zeros(size, np.int32) if layer.bias is None else np.rint(layer.bias.astype(np.float64) / step)
        limits = np.iinfo(np.int64 if at in self.plan.wide.layers else np.int32)
        codes = np.clip(codes, limits.min, limits.max).astype(limits.dtype)
        bias = self.file.add_constant(f"{layer.layer.name}/bias_codes", codes)
        bias.set_quantization(step)
        read[place] = bias.index
        each.raw.inputs = read

    def _as_fully_connected(self, each: Operator) -> None:
        options = schema.FullyConnectedOptionsT()
        options.keepNumDims = True
        self.file.turn_into(each.raw, "FULLY_CONNECTED", options)


def in_file_layout(kernel: str, layer: QuantizedLayer, weights: QuantizedWeights) -> tuple[np.ndarray, int]:
    """The integer weights as a kernel has them, and the axis of its channels."""
    codes = weights.values.astype(np.int8)
    if layer.layer.type == "Conv3D":
        return np.moveaxis(with_layers_in_channels(codes), 3, 0), 0
    if layer.layer.type == "DepthwiseConv2dNative":
        codes = codes.reshape(1, *codes.shape[:2], -1)
        return (np.moveaxis(codes, -1, 0), 0) if kernel == "CONV_2D" else (codes, 3)
    if layer.layer.type == "Conv2DBackpropInput":
        return np.moveaxis(codes, 2, 0), 0
    if layer.layer.type == "Conv2D":
        return (np.moveaxis(codes, 3, 0), 0) if kernel == "CONV_2D" else (codes, 3)
    return codes.T, 0

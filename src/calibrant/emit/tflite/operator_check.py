"""Holding every operator of a converted file against what was meant to run on integers, and with which factors.

The converter decides by itself what it puts on integers: it needs factors around an operator, not our consent, and
gives a Mean, a Softmax or a layer left in float factors of its own making. What is on integers without being meant so,
or is not although it was meant, is an error: the simulation would be one of another file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np
from tensorflow.core.framework.node_def_pb2 import NodeDef

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.emit.tflite.converter_graph import place_factors
from calibrant.emit.tflite.flatbuffer import File, Operator, Tensor
from calibrant.emit.tflite.integer_part import ACTIVATIONS, IntegerPart, fused_end, moves
from calibrant.emit.tflite.pooling import is_global_pool
from calibrant.errors import ModelError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.layers import ADDITIONS
from calibrant.quantized_network import QuantizedNetwork

Codes = tuple[float, int]

MOVING = frozenset(
    {
        *("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "MAX_POOL_2D", "PAD", "PADV2", "SPLIT", "SPLIT_V"),
        *("CONCATENATION", "SLICE", "STRIDED_SLICE", "SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "SPACE_TO_DEPTH"),
        *("DEPTH_TO_SPACE", "MINIMUM", "MAXIMUM", "RELU", "RELU6", "RELU_N1_TO_1"),
    }
)
"""Operators that hand codes on or end their range: right wherever all their tensors have the same factors."""
COMPUTING = {
    **{"Add": "ADD", "AddV2": "ADD", "Mean": "MEAN", "AvgPool": "AVERAGE_POOL_2D"},
    **{"Softmax": "SOFTMAX", "Sigmoid": "LOGISTIC", "Tanh": "TANH", "Relu": "RELU", "Relu6": "RELU6"},
}
ONLY_THE_SHAPE = frozenset({"SHAPE", "RANK"})
HINT = "leave it or what is beside it in float with skip_layers, or export another format"


def check_operators(
    file: File,
    network: QuantizedNetwork,
    part: IntegerPart,
    factors: Mapping[str, Quantizer],
    layers: Mapping[str, Operator],
) -> None:
    """Find every operator that runs on other numbers than the simulation says.

    Parameters
    ----------
    factors : of the tensors of the integer part.
    layers : the operators that were found to be layers, by name.

    Raises
    ------
    ModelError : operators on integers that were not meant to be, operators in float that were, factors that are not
        ours, layers in float whose weights became int8; all of them, by name.
    """
    check = _Check(network, part, factors)
    problems = dict.fromkeys(check.problems(file, layers))
    if problems:
        source = network.graph.source
        raise ModelError(*(Problem(text, file=source, path=path, hint=HINT) for path, text in problems))


class _Check:
    def __init__(self, network: QuantizedNetwork, part: IntegerPart, factors: Mapping[str, Quantizer]):
        self.graph = network.graph
        self.factors = factors
        self.places = place_factors(network)
        self.part = part
        self.biases = {layer.layer.name: layer.layer.bias for layer in network.layers if layer.weights is not None}
        self.ours = {_codes(quantizer) for quantizer in (*factors.values(), *self.places.values())}
        self.conversions = self._conversions()

    def problems(self, file: File, layers: Mapping[str, Operator]) -> Iterator[tuple[str, str]]:
        """Tensor name, and what is wrong with the operator that makes it."""
        for name, operator in layers.items():
            if not _has(operator.outputs[0], self._made(self.graph.nodes[name])):
                yield name, f"{operator.name} rounds its result to factors that are not ours"
        known = {operator.outputs[0].index for operator in layers.values()}
        waiting = {name: self.graph.nodes[name] for name in self.graph.nodes if self._is_waited_for(name, layers)}
        taken: list[NodeDef] = []
        for operator in file.operators():
            path = _path(operator)
            if any(_factors(tensor) not in self.ours for tensor in _activations(operator)):
                yield path, f"{operator.name} has factors that are not ours"
                continue
            reads, makes = _is_int8(operator.inputs), _is_int8(operator.outputs)
            if makes and reads and operator.outputs[0].index not in known:
                if not self._is_move(operator):
                    node = self._meant(operator, waiting.values())
                    if node is None:
                        yield path, f"{operator.name} runs on integers, where it was meant to be in float"
                    else:
                        taken.append(waiting.pop(node.name))
            elif makes and not reads and operator.name != "QUANTIZE":
                yield path, f"{operator.name} makes int8 of float numbers"
            elif reads and not makes and operator.name not in ONLY_THE_SHAPE and not _is_dequantization(operator):
                yield path, f"{operator.name} in float has operands that were rounded to int8"
        for name, node in waiting.items():
            alike = (other for other in taken if other.op == node.op and self._around(other) == self._around(node))
            if node.op not in ACTIVATIONS and not any(alike):  # equal operators may have become one
                yield name, f"{node.op} was meant to run on integers; the converter made float of it"

    def _is_waited_for(self, name: str, layers: Collection[str]) -> bool:
        return name in self.part.nodes and name not in layers and self.graph.nodes[name].op in COMPUTING

    def _is_move(self, operator: Operator) -> bool:
        """Whether an operator on integers only hands codes on, or converts them as was meant."""
        if operator.name == "QUANTIZE":
            return (_factors(operator.inputs[0]), _factors(operator.outputs[0])) in self.conversions
        found = {_factors(t) for t in (*operator.inputs, *operator.outputs) if t is not None and t.dtype == np.int8}
        return operator.name in MOVING and len(found) == 1

    def _meant(self, operator: Operator, nodes: Collection[NodeDef]) -> NodeDef | None:
        """The node that an operator was made of: of its kind, with its factors, rather with its name."""
        read = [_factors(tensor) for tensor in operator.inputs if tensor is not None and tensor.dtype == np.int8]
        around = sorted(found for found in read if found is not None), _factors(operator.outputs[0])
        fitting = [node for node in nodes if self._kernel(node) == operator.name and self._around(node) == around]
        named = [node for node in fitting if node.name in operator.outputs[0].name.split(";")]
        return next(iter(named or fitting), None)

    def _around(self, node: NodeDef) -> tuple[list[Codes], Codes | None]:
        """The factors of a node's activations, and of its result."""
        read = [self._read(node.name, index) for index in range(len(nd.data_inputs(node)))]
        made = self._made(node)
        return sorted(_codes(quantizer) for quantizer in read if quantizer is not None), made and _codes(made)

    def _made(self, node: NodeDef) -> Quantizer | None:
        """The factors of a kernel's result; a window's average has those of the input, and is then converted."""
        if node.op == "AvgPool" and not is_global_pool(self.graph, node):
            return self._read(node.name, 0)
        fused = node.op in ADDITIONS or node.name in self.biases
        end = fused_end(self.graph, node.name, self.biases.get(node.name)) if fused else node.name
        return self.factors.get(f"{end}:0")

    def _kernel(self, node: NodeDef) -> str:
        return "MEAN" if node.op == "AvgPool" and is_global_pool(self.graph, node) else COMPUTING[node.op]

    def _read(self, name: str, index: int) -> Quantizer | None:
        return self.places.get((name, index), self.factors.get(nd.data_inputs(self.graph.nodes[name])[index]))

    def _conversions(self) -> set[tuple[Codes, Codes]]:
        """From which factors to which others codes are converted."""
        found = set()
        for (name, index), read in self.places.items():
            own = self.factors.get(nd.data_inputs(self.graph.nodes[name])[index])
            found.add((own or read, read))
        for tensor, made in self.factors.items():
            node = self.graph.producer(tensor)
            if node.name in self.part.nodes and (moves(node) or node.op == "AvgPool"):
                read = (self._read(node.name, index) for index in range(len(nd.data_inputs(node))))
                found.update((given, made) for given in read if given is not None)
        return {(_codes(given), _codes(made)) for given, made in found if given != made}


def _codes(quantizer: Quantizer) -> Codes:
    return float(quantizer.scale), quantizer.offset


def _factors(tensor: Tensor) -> Codes | None:
    return (float(tensor.scale[0]), tensor.zero_point) if tensor.scale.size == 1 else None


def _has(tensor: Tensor, quantizer: Quantizer) -> bool:
    return tensor.dtype == np.int8 and _factors(tensor) == _codes(quantizer)


def _activations(operator: Operator) -> list[Tensor]:
    tensors = [tensor for tensor in (*operator.inputs, *operator.outputs) if tensor is not None]
    return [tensor for tensor in tensors if tensor.dtype == np.int8 and tensor.values is None]


def _is_int8(tensors: Collection[Tensor | None]) -> bool:
    return any(tensor is not None and tensor.dtype == np.int8 for tensor in tensors)


def _is_dequantization(operator: Operator) -> bool:
    return operator.name == "DEQUANTIZE" and operator.inputs[0].values is None


def _path(operator: Operator) -> str:
    """A readable name of what an operator makes."""
    names = [name for name in operator.outputs[0].name.split(";") if name]
    return names[0] if names else f"tensor {operator.outputs[0].index}"

"""What a LiteRT file computes, as a TensorFlow graph of stock operations, made from the file itself.

Integer operators compute on codes as their kernels do, see :mod:`calibrant.emit.tflite.simulated_integers`; operators
in float are TensorFlow's, see :mod:`calibrant.emit.tflite.simulated_floats`. Codes are whole numbers in float32, the
code of zero already subtracted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from calibrant.emit.tflite.flatbuffer import File, Operator, Tensor
from calibrant.emit.tflite.simulated_codes import hidden, round_real
from calibrant.graph import nodes as nd
from calibrant.graph.frozen import select
from calibrant.graph.graph import Graph
from calibrant.graph.tensorflow import tensorflow

BETWEEN = "/between"
"""Behind the name of a tensor of codes: the node that has its real values."""


class NotSimulated(Exception):
    """An operator that the simulation has no row for."""


def simulation(file: File, fed: Mapping[int, str], source: str = "model") -> Graph:
    """The graph; its inputs have the names of ``fed``, by position.

    Raises
    ------
    NotSimulated : with the operator's name.
    """
    tf = tensorflow()
    with tf.Graph().as_default() as made:
        simulated = Simulated(file)
        inputs = []
        for position, tensor in enumerate(file.inputs()):
            name = nd.node_name(fed[position])
            shape = tensor.signature
            dtype = tf.float32 if tensor.dtype == np.int8 else tensor.dtype
            placed = tf.compat.v1.placeholder(dtype, shape, name=name)
            inputs.append(placed.name)
            simulated.feed(tensor, placed)
        for operator in file.operators():
            simulated.run(operator)
        outputs = [
            tf.identity(simulated.real(tensor), name=_free(made, f"result_{position}")).name
            for position, tensor in enumerate(file.outputs())
        ]
        watched = [operation.name for operation in made.get_operations() if operation.name.endswith(BETWEEN)]
        definition = made.as_graph_def()
    last = {nd.node_name(name) for name in outputs[:1]}
    before = dict(zip(watched[1:], watched, strict=False))  # so that they stay in the order of the file
    for node in definition.node:
        if node.name in before:
            node.input.append(f"^{before[node.name]}")
        if node.name in last and watched:
            node.input.append(f"^{watched[-1]}")
    return select(definition, source, inputs, outputs)


def _free(graph: Any, name: str) -> str:
    return graph.unique_name(name)


class Simulated:
    """The tensors of one file as TensorFlow tensors, in the graph that is being built.

    Parameters
    ----------
    alone : each operator reads placeholders instead of what the operators in front of it make, so that each can be
        compared with its kernel by itself; ``fed`` then has them, and ``made`` the results.
    """

    def __init__(self, file: File, alone: bool = False):
        self.file = file
        self.alone = alone
        self.fed: dict[int, Any] = {}
        self.made: dict[int, Any] = {}
        self._real: dict[int, Any] = {}
        self._codes: dict[int, Any] = {}

    def feed(self, tensor: Tensor, value: Any) -> None:
        """Say what an input of the file is; real numbers, also where the file takes codes."""
        if tensor.dtype == np.int8 and tensor.scale.size:
            self.set_codes(tensor, round_real(value, tensor))
        else:
            self._real[tensor.index] = value

    def run(self, operator: Operator) -> None:
        """Add what an operator computes."""
        from calibrant.emit.tflite.simulated_floats import FLOATS
        from calibrant.emit.tflite.simulated_integers import INTEGERS

        integer = any(holds_codes(tensor) for tensor in (*operator.inputs, *operator.outputs) if tensor is not None)
        row = (INTEGERS if integer else FLOATS).get(operator.name)
        if row is None:
            raise NotSimulated(operator.name)
        with tensorflow().name_scope(f"{safe_name(operator.outputs[0].name)}/"):
            made = row(self, operator)
        made = made if isinstance(made, (list, tuple)) else [made]
        for tensor, value in zip(operator.outputs, made, strict=False):
            if self.alone:
                self.made[tensor.index] = value
            elif holds_codes(tensor):
                self.set_codes(tensor, value)
            else:
                self._real[tensor.index] = value

    def set_codes(self, tensor: Tensor, codes: Any) -> None:
        """Say what the codes of a tensor are."""
        tf = tensorflow()
        self._codes[tensor.index] = codes
        name = safe_name(tensor.name)
        with tf.name_scope(f"{name}/"):
            value = tf.multiply(codes, hidden(tensor.scale[0], "scale"), name="dequantized")
            self._real[tensor.index] = tf.identity(value, name=BETWEEN[1:])

    def codes(self, tensor: Tensor) -> Any:
        """The codes of a tensor, float32."""
        if tensor.index not in self._codes and tensor.values is None and self.alone:
            tf = tensorflow()
            codes = tf.cast(self._placed(tensor), tf.float32) - np.float32(tensor.zero_point)
            self._codes[tensor.index] = codes
        if tensor.index not in self._codes:
            values = tensor.values.astype(np.float32) - np.float32(tensor.zero_point)
            self._codes[tensor.index] = tensorflow().constant(values)
        return self._codes[tensor.index]

    def real(self, tensor: Tensor | None) -> Any:
        """The real values of a tensor in its own type; codes are dequantized. None for one that is left out."""
        if tensor is None:
            return None
        if tensor.index not in self._real and tensor.values is None and self.alone:
            codes = self.codes(tensor) * tensor.scale[0] if holds_codes(tensor) else self._placed(tensor)
            self._real[tensor.index] = codes
        if tensor.index not in self._real:
            values = tensor.values
            if values is None:
                raise NotSimulated(f"the tensor {tensor.name}")
            if holds_codes(tensor):
                values = (values.astype(np.float32) - np.float32(tensor.zero_point)) * tensor.scale[0]
            self._real[tensor.index] = tensorflow().constant(values)
        return self._real[tensor.index]

    def _placed(self, tensor: Tensor) -> Any:
        if tensor.index not in self.fed:
            self.fed[tensor.index] = tensorflow().compat.v1.placeholder(tensor.dtype, tensor.signature)
        return self.fed[tensor.index]


def holds_codes(tensor: Tensor) -> bool:
    return tensor.dtype in (np.int8, np.int16) and tensor.scale.size > 0


def safe_name(name: str) -> str:
    """A name as TensorFlow takes it."""
    return name.replace(":", "_").replace(";", "_")

"""What a LiteRT file computes, as a TensorFlow graph of stock operations, made from the file itself.

Integer operators compute on codes as their kernels do, see :mod:`calibrant.emit.tflite.simulation.integers`; operators
in float are TensorFlow's, see :mod:`calibrant.emit.tflite.simulation.floats`. Codes are whole numbers in float32, the
code of zero already subtracted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from calibrant.emit.tflite.file_parts import Operator, Tensor
from calibrant.emit.tflite.flatbuffer import File
from calibrant.emit.tflite.simulation.codes import hidden, round_real
from calibrant.graph import nodes as nd
from calibrant.graph.functions.unique_functions import with_unique_functions
from calibrant.graph.graph import Graph
from calibrant.graph.reading.frozen import select
from calibrant.graph.tensorflow import tensorflow, without_callbacks

BETWEEN = "/between"
"""Behind the name of a tensor of codes: the node that has its real values."""
READ = "read"


class NotSimulated(Exception):
    """An operator that the simulation has no row for."""


@dataclass(frozen=True, eq=False)
class Simulation:
    """The computation of a file as TensorFlow operations.

    Parameters
    ----------
    definition : Any
        Tf.Graph The operations.
    inputs, outputs : tuple[str, ...]
        Names of tensors, by position in the file.
    made : Mapping[int, Any]
        Dict[int, tf.Tensor] Index of a tensor of the file → the result of its operator: codes less the code of
        zero, or real numbers.
    read : Mapping[int, Any]
        Dict[int, tf.Tensor] Index of a tensor of the file → the same numbers, as operators read them. Fed in
        place of ``made``, they let each operator be run by itself.
    """

    definition: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    made: Mapping[int, Any]
    read: Mapping[int, Any]

    def graph(self, source: str = "model") -> Graph:
        """The graph, with its nodes in the order of the file.

        Parameters
        ----------
        source : str
            The name of the model in messages.

        Returns
        -------
        Graph
            With the inputs and outputs of the file.
        """
        definition = with_unique_functions(self.definition.as_graph_def())
        watched = [node.name for node in definition.node if node.name.endswith(BETWEEN)]
        before = dict(zip(watched[1:], watched, strict=False))
        before |= {nd.node_name(name): watched[-1] for name in self.outputs[:1] if watched}
        for node in definition.node:
            if node.name in before:
                node.input.append(f"^{before[node.name]}")
        return select(definition, source, self.inputs, self.outputs)


@without_callbacks()
def simulate(file: File, names: Mapping[int, str], results: Sequence[str] = ()) -> Simulation:
    """Build the computation of a file.

    Parameters
    ----------
    file : File
        The file.
    names : Mapping[int, str]
        Position of an input → its name in the simulation.
    results : Sequence[str]
        Names of the outputs, as far as they are free there.

    Returns
    -------
    Simulation
        With inputs of real numbers, also where the file takes codes.

    Raises
    ------
    NotSimulated
        An operator that no table has; with its name.
    """
    tf = tensorflow()
    with tf.Graph().as_default() as definition:
        simulated = Simulated(file)
        feeds = _reserved(definition, [names[position] for position, _ in enumerate(file.inputs())])
        made = list(file.outputs())
        ends = _reserved(definition, results or ["result"] * len(made))
        inputs = []
        for position, tensor in enumerate(file.inputs()):
            dtype = tf.float32 if holds_codes(tensor) else tensor.dtype
            placed = tf.compat.v1.placeholder(dtype, tensor.signature, name=feeds[position])
            inputs.append(placed.name)
            simulated.set(tensor, round_real(placed, tensor) if holds_codes(tensor) else placed)
        for operator in file.operators():
            simulated.run(operator)
        outputs = [tf.identity(simulated.real(tensor), name=name).name for tensor, name in zip(made, ends, strict=True)]
    return Simulation(definition, tuple(inputs), tuple(outputs), simulated.made, simulated.read)


def _reserved(definition: Any, names: Sequence[str]) -> list[str]:
    """Names that no operation gets unless it asks for exactly these, as the slash at their ends does.

    A node has one result there, so the first results of nodes have their names, and others what is left.
    """
    first_results_first = sorted(range(len(names)), key=lambda at: nd.split_tensor(names[at])[1])
    given = {at: f"{definition.unique_name(nd.node_name(names[at]))}/" for at in first_results_first}
    return [given[at] for at in range(len(names))]


class Simulated:
    """The tensors of one file as TensorFlow tensors, in the graph that is being built."""

    def __init__(self, file: File) -> None:
        self._file = file
        self.made: dict[int, Any] = {}
        self.read: dict[int, Any] = {}
        self._real: dict[int, Any] = {}

    def run(self, operator: Operator) -> None:
        """Add the operations of one operator of the file.

        Parameters
        ----------
        operator : Operator
            All that it reads has been added before.

        Raises
        ------
        NotSimulated
            No table has it.
        """
        from calibrant.emit.tflite.simulation.floats import FLOATS
        from calibrant.emit.tflite.simulation.integers import INTEGERS

        integer = any(holds_codes(tensor) for tensor in (*operator.inputs, *operator.outputs) if tensor is not None)
        row = (INTEGERS if integer else FLOATS).get(operator.name)
        if row is None:
            raise NotSimulated(operator.name)
        with tensorflow().name_scope(f"{_safe_name(operator.outputs[0].name)}/"):
            made = row(self, operator)
        made = made if isinstance(made, (list, tuple)) else [made]
        for tensor, value in zip(operator.outputs, made, strict=False):
            self.set(tensor, value)

    def called(self, number: int, values: Sequence[Any]) -> list[Any]:
        """What another graph of the file, by its position there, makes of these tensors.

        Returns
        -------
        list[Any]
            Its results, real numbers.
        """
        graph = self._file.subgraph(number)
        simulated = Simulated(graph)
        for tensor, value in zip(graph.inputs(), values, strict=True):
            simulated.set(tensor, value)
        for operator in graph.operators():
            simulated.run(operator)
        return [simulated.real(tensor) for tensor in graph.outputs()]

    def open_shapes(self, number: int) -> list[Any]:
        """The shapes of what another graph takes."""
        return [tensorflow().TensorShape(tensor.signature) for tensor in self._file.subgraph(number).inputs()]

    def set(self, tensor: Tensor, value: Any) -> None:
        """Set the numbers of a tensor.

        Parameters
        ----------
        tensor : Tensor
            Of the file.
        value : Any
            Codes less the code of zero, float32, or numbers of the tensor's own type; tf.Tensor.
        """
        tf = tensorflow()
        with tf.name_scope(f"{_safe_name(tensor.name)}/"):
            self.made[tensor.index] = value
            self.read[tensor.index] = tf.identity(value, name=READ)
            if holds_codes(tensor):
                scaled = tf.multiply(self.read[tensor.index], hidden(tensor.scale[0], "scale"), name="dequantized")
                self._real[tensor.index] = tf.identity(scaled, name=BETWEEN[1:])

    def codes(self, tensor: Tensor) -> Any:
        """The codes of a tensor.

        Parameters
        ----------
        tensor : Tensor
            Of the file; one that has a scale.

        Returns
        -------
        tf.Tensor
            Codes, float32, the code of zero subtracted.
        """
        if tensor.index not in self.read:
            values = tensor.constant.astype(np.float32) - np.float32(tensor.zero_point)
            self.read[tensor.index] = tensorflow().constant(values)
        return self.read[tensor.index]

    def real(self, tensor: Tensor | None) -> Any:
        """The real values of a tensor.

        Parameters
        ----------
        tensor : Tensor | None
            Of the file; None stands for an input that is left out.

        Returns
        -------
        tf.Tensor | None
            In the tensor's own type; codes are dequantized.
        """
        if tensor is None:
            return None
        if tensor.index in self.read and not holds_codes(tensor):
            return self.read[tensor.index]
        if tensor.index not in self._real:
            values = tensor.values
            if values is None:
                raise NotSimulated(f"the tensor {tensor.name}")
            if holds_codes(tensor):
                values = (values.astype(np.float32) - np.float32(tensor.zero_point)) * tensor.scale[0]
            self._real[tensor.index] = tensorflow().constant(values)
        return self._real[tensor.index]


def holds_codes(tensor: Tensor) -> bool:
    return tensor.dtype in (np.int8, np.int16, np.uint8) and tensor.scale.size > 0


def between_node(tensor: Tensor) -> str:
    """The node of a simulation that has the real numbers of a tensor with codes."""
    return f"{_safe_name(tensor.name)}{BETWEEN}"


def _safe_name(name: str) -> str:
    """A name as TensorFlow takes it, at an end and before a slash, too.

    That of a second result, x:1, is no name of another node, as x_1 would be.
    """
    accepted = name.replace(":", ".-").replace(";", ".-")
    return accepted if accepted[:1].isalnum() or accepted[:1] == "." else f"n{accepted}"

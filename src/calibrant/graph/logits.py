"""The place where outputs are best compared: before a final Softmax, which hides differences."""

from __future__ import annotations

from calibrant.errors import ModelError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef

# What a quantizer and a change of shape are made of.
HANDING_ON = frozenset(
    {"Identity", "Reshape", "Squeeze", "Cast", "Mul", "MulNoNan", "Round", "AddV2", "Add", "ClipByValue", "Sub"}
)

SHAPED = frozenset({"Reshape", "Squeeze"})
"""Of these, the operations whose further inputs may be computed, too."""


def is_sigmoid(graph: Graph, tensor: str) -> bool:
    """Whether an output comes from a Sigmoid."""
    node = _last_function(graph, tensor)
    return node is not None and node.op == "Sigmoid"


def before_softmax(graph: Graph, tensor: str) -> str:
    """The tensor that the Softmax reads from which an output comes, or the output itself."""
    return softmax_input(graph, tensor) or tensor


def scores_tensor(graph: Graph, tensor: str) -> str:
    """Where an output is best compared: before a final Softmax, or before an ArgMax over the last axis."""
    node = _last_function(graph, tensor)
    if node is not None and node.op == "ArgMax":
        scores, axis = nd.data_inputs(node)[:2]
        number, shape = graph.constant(axis), graph.shape(scores)
        if number is not None and shape is not None and int(number) in (-1, len(shape) - 1):
            return scores
    return before_softmax(graph, tensor)


def compared_tensors(graph: Graph) -> tuple[str, ...]:
    """Where each output that holds numbers is compared; texts are left out.

    Raises
    ------
    ModelError
        No output holds numbers.
    """
    numbers = _numbers(graph)
    if not numbers:
        keys = ", ".join(graph.output_keys)
        problem = Problem(
            f"the outputs are compared, and no output holds numbers: {keys}",
            file=graph.source,
            hint="name the scores that they come from with --outputs; calibrant inspect --nodes lists all tensors",
        )
        raise ModelError(problem)
    return numbers


def can_be_compared(graph: Graph) -> bool:
    """Whether an output holds numbers."""
    return bool(_numbers(graph))


def _numbers(graph: Graph) -> tuple[str, ...]:
    points = tuple(scores_tensor(graph, tensor) for tensor in graph.outputs)
    kinds = {tensor: graph.dtype(tensor) for tensor in points}
    return tuple(name for name in points if kinds[name].is_floating or kinds[name].is_integer or kinds[name].is_bool)


def softmax_input(graph: Graph, tensor: str) -> str | None:
    """The tensor that the Softmax reads from which an output comes; None where it comes from none."""
    node = _last_function(graph, tensor)
    return nd.data_inputs(node)[0] if node is not None and node.op == "Softmax" else None


def _last_function(graph: Graph, tensor: str) -> NodeDef | None:
    """The last node before an output that does more than pass values on."""
    current = tensor
    while True:
        node = graph.producer(current)
        if node.op == "IdentityN":
            current = nd.data_inputs(node)[nd.split_tensor(current)[1]]
            continue
        if node.op not in HANDING_ON or node.name in graph.input_nodes:
            return node
        inputs = nd.data_inputs(node)[:1] if node.op in SHAPED else nd.data_inputs(node)
        read = [name for name in inputs if not _is_constant(graph, name)]
        if len(read) != 1:
            return None
        current = read[0]


def _is_constant(graph: Graph, tensor: str) -> bool:
    """Whether a tensor is a constant, also one that is hidden from TensorFlow's optimizer as a default."""
    return graph.producer(tensor).op == "PlaceholderWithDefault" or graph.constant(tensor) is not None

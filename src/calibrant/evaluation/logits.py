"""The place where outputs are best compared: before a final Softmax, which hides differences."""

from __future__ import annotations

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph

# What a quantizer and a change of shape are made of.
HANDING_ON = frozenset(
    {"Identity", "Reshape", "Squeeze", "Cast", "Mul", "MulNoNan", "Round", "AddV2", "Add", "ClipByValue", "Sub"}
)


def before_softmax(graph: Graph, tensor: str) -> str:
    """The tensor that the Softmax reads from which an output comes, or the output itself."""
    return softmax_input(graph, tensor) or tensor


def softmax_input(graph: Graph, tensor: str) -> str | None:
    """The tensor that the Softmax reads from which an output comes; None where it comes from none."""
    current = tensor
    while True:
        node = graph.producer(current)
        if node.op == "Softmax":
            return nd.data_inputs(node)[0]
        if node.op == "IdentityN":
            current = nd.data_inputs(node)[nd.split_tensor(current)[1]]
            continue
        read = [name for name in nd.data_inputs(node) if not _is_constant(graph, name)]
        if node.op not in HANDING_ON or len(read) != 1:
            return None
        current = read[0]


def _is_constant(graph: Graph, tensor: str) -> bool:
    """Whether a tensor is a constant, also one that is hidden from TensorFlow's optimizer as a default."""
    return graph.producer(tensor).op == "PlaceholderWithDefault" or graph.constant(tensor) is not None

"""The tensors at which a float network's outputs are compared: before a final Softmax, which hides differences."""

from __future__ import annotations

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph

_RESHAPES = frozenset({"Identity", "Reshape", "Squeeze"})


def before_softmax(graph: Graph, tensor: str) -> str:
    """The input of the Softmax that an output comes from, else the output itself."""
    current = tensor
    while graph.producer(current).op in _RESHAPES and nd.node_name(current) not in graph.input_nodes:
        current = nd.data_inputs(graph.producer(current))[0]
    return nd.data_inputs(graph.producer(current))[0] if graph.producer(current).op == "Softmax" else tensor

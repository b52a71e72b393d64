"""Where a float network's outputs are compared: in front of a final Softmax, which hides differences."""

from __future__ import annotations

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph

_HANDING_ON = frozenset({"Identity", "Reshape", "Squeeze"})


def in_front_of_softmax(graph: Graph, tensor: str) -> str:
    """What the Softmax reads from which an output comes, else the output itself."""
    current = tensor
    while graph.producer(current).op in _HANDING_ON and nd.node_name(current) not in graph.input_nodes:
        current = nd.data_inputs(graph.producer(current))[0]
    return nd.data_inputs(graph.producer(current))[0] if graph.producer(current).op == "Softmax" else tensor

"""One input of one node."""

from __future__ import annotations

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph

NodeInput = tuple[str, int]
"""Name of a node, and the index of one of its data inputs."""


def read_tensor(graph: Graph, place: NodeInput) -> str:
    """The tensor that a node reads at an input index, ``node:index``."""
    name, index = place
    return nd.data_inputs(graph.nodes[name])[index]

"""A warning about a model that has been quantized before: its layers read rounded values."""

from __future__ import annotations

from collections.abc import Sequence

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph

FARTHEST = 8
"""Operations between rounding and a layer: an offset, limits, a scale, and what moves values."""
STEPS = frozenset(
    {"Add", "AddV2", "ClipByValue", "Maximum", "Minimum", "Mul", "MulNoNan", "RealDiv", "Sub"}
    | {"Identity", "MaxPool", "Reshape"}
)
ROUNDED = frozenset({"Round", "Rint"})


def quantized_before_warnings(graph: Graph, inputs: Sequence[str]) -> list[str]:
    """One sentence, if most of the tensors that layers read are rounded.

    Parameters
    ----------
    graph : Graph
        The network's graph.
    inputs : Sequence[str]
        What the layers read, each tensor once.
    """
    found = {tensor: _rounding(graph, tensor) for tensor in inputs}
    rounded = [tensor for tensor, nodes in found.items() if nodes]
    places = set[str]().union(*found.values())  # a network that only rounds its own input has one
    if len(places) < 2 or 2 * len(rounded) < len(inputs):
        return []
    return [
        f"{len(rounded)} of the {len(inputs)} tensors that layers read are rounded already, as {rounded[0]!r}: the "
        "model seems to have been quantized, and its errors do not show here; give the float model it was made from"
    ]


def _rounding(graph: Graph, tensor: str, left: int = FARTHEST) -> set[str]:
    """The nodes that round a tensor."""
    node = graph.producer(tensor)
    if node.op in ROUNDED:
        return {node.name}
    if node.op not in STEPS or not left:
        return set()
    return set[str]().union(*(_rounding(graph, read, left - 1) for read in nd.data_inputs(node)))

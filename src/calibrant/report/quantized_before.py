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
        What the layers read, each tensor once; a network rounds its own input at most once, so one tells nothing.
    """
    rounded = [tensor for tensor in inputs if _is_rounded(graph, tensor)]
    if len(rounded) < 2 or 2 * len(rounded) < len(inputs):
        return []
    return [
        f"{len(rounded)} of the {len(inputs)} tensors that layers read are rounded already, as {rounded[0]!r}: the "
        "model seems to have been quantized, and its errors do not show here; give the float model it was made from"
    ]


def _is_rounded(graph: Graph, tensor: str, left: int = FARTHEST) -> bool:
    node = graph.producer(tensor)
    if node.op in ROUNDED:
        return True
    return node.op in STEPS and left > 0 and any(_is_rounded(graph, read, left - 1) for read in nd.data_inputs(node))

"""A warning about a model that has been quantized before: its layers read rounded values."""

from __future__ import annotations

from collections.abc import Sequence

from calibrant.graph import nodes as nd
from calibrant.graph.fake_quant import FAKE_QUANT
from calibrant.graph.graph import Graph, ordered
from calibrant.layer_kinds import KINDS

FARTHEST = 16
"""Operations between rounding and a layer: an offset, limits, a scale, and what moves values."""
STEPS = frozenset(
    {"Add", "AddV2", "ClipByValue", "Maximum", "Minimum", "Mul", "MulNoNan", "RealDiv", "Sub"}
    | {"Cast", "ConcatV2", "ExpandDims", "Identity", "MaxPool", "Pad", "PadV2", "Reshape", "Squeeze", "Transpose"}
)
ROUNDED = FAKE_QUANT | {"Floor", "Rint", "Round"}
ROUNDED |= {"QuantizeAndDequantize", *(f"QuantizeAndDequantizeV{version}" for version in (2, 3, 4))}


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
    places = set[str]().union(*found.values())
    if len(places) < 2 or 2 * len(rounded) < len(inputs) or not _depends_on_layer(graph, places):
        return []
    return [
        f"{len(rounded)} of the {len(inputs)} tensors that layers read are rounded already, as {rounded[0]!r}: the "
        "model seems to have been quantized, and its errors do not show here; give the float model it was made from"
    ]


def _rounding(graph: Graph, tensor: str, left: int = FARTHEST) -> set[str]:
    """The nodes that round a tensor; none where something that is not rounded is a part of it."""
    node = graph.producer(tensor)
    if node.op in ROUNDED or (node.op == "Cast" and graph.dtype(tensor).is_integer):
        return {node.name}
    if node.op not in STEPS or not left:
        return set()
    values = [each for each in nd.data_inputs(node) if node.op == "Cast" or graph.dtype(each).is_floating]
    found = [_rounding(graph, each, left - 1) for each in values if not _is_given(graph, each)]
    return set[str]().union(*found) if all(found) else set()


def _is_given(graph: Graph, tensor: str) -> bool:
    """Whether a tensor is a constant, also one that is kept from folding behind a placeholder."""
    node = graph.producer(tensor)
    if node.op == "PlaceholderWithDefault":
        tensor = nd.data_inputs(node)[0]
    return graph.constant(tensor) is not None


def _depends_on_layer(graph: Graph, names: set[str]) -> bool:
    """Whether a layer is upstream of any of some nodes: what a network is fed it may round."""
    return any(node.op in KINDS for node in ordered(graph.nodes, names).values())

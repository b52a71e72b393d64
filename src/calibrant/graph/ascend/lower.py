"""A graph with the Ascend operators → the same function in stock operations; the reference meaning."""

from __future__ import annotations

from collections.abc import Iterable

from calibrant.errors import ModelError, Problem, first_problems
from calibrant.graph.ascend.checks import complaints
from calibrant.graph.ascend.dequantized import DequantizedLayers
from calibrant.graph.ascend.integer_part import widen
from calibrant.graph.ascend.matched import match
from calibrant.graph.ascend.operators import LOWERINGS
from calibrant.graph.ascend.scoped_builder import ScopedBuilder
from calibrant.graph.tf_core import GraphDef, NodeDef


def has_ascend_operators(nodes: Iterable[NodeDef]) -> bool:
    """Whether any node is one of the four operators."""
    return any(node.op in LOWERINGS for node in nodes)


def lower(graph_def: GraphDef, source: str = "GraphDef") -> GraphDef:
    """Put stock operations in the place of the four operators; their node names stay, so outputs and readers do too.

    A layer between quantizers and an AscendDequant directly after it (or after its BiasAdd) becomes the layer of the
    fake-quantized model, the same operations on the same float32 numbers where the scales are representable
    (:mod:`calibrant.graph.ascend.scales`). Whatever else lies between quantizers and AscendDequant computes on
    integers, held in float32 (float64 where T is), also where T is float16: they stand for int32.

    Parameters
    ----------
    graph_def : GraphDef
        Frozen; made by calibrant or by others. Attributes that are not there have the operator's defaults.
    source : str
        What the graph is called in messages.

    Raises
    ------
    ModelError
        A quantizer without scale, factors that are not constants or not finite numbers; each with its node.
    """
    pieces = ScopedBuilder(graph_def)
    operators = [node for node in graph_def.node if node.op in LOWERINGS]
    problems = [Problem(text, file=source, path=node.name) for node in operators for text in complaints(pieces, node)]
    if problems:
        raise ModelError(*first_problems(problems))
    layers = DequantizedLayers(pieces)
    rewritten = set()
    for node in operators:
        layer = match(pieces, node) if node.op == "AscendDequant" else None
        if layer is not None:
            layers.rewrite(layer)
            rewritten.add(node.name)
    widen(pieces, layers.dequantized)
    for node in operators:
        if node.name not in rewritten:
            LOWERINGS[node.op](pieces, node)
    return pieces.graph_def()

"""A constant repeated for the other operand of what reads it, which broadcasts: the constant itself is enough."""

from __future__ import annotations

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.inference.constant_folding import constant_nodes
from calibrant.graph.tf_core import NodeDef

REPEATING = frozenset({"Tile", "BroadcastTo"})
PRODUCTS = frozenset({"BatchMatMulV2", "BatchMatMulV3"})
"""What broadcasts all axes but the last two."""


def without_repeated_constants(graph: Graph) -> Graph:
    """The graph in which operations that broadcast read constants that were repeated for them as they are stored.

    Weights that ``tf.tile`` repeats for each sample of a batch would be folded to as many copies.
    """
    if not any(node.op in REPEATING for node in graph.nodes.values()):
        return graph
    constants = constant_nodes(graph)
    edit, found = graph.edit(), False
    for node in graph.nodes.values():
        if node.op not in PRODUCTS | nd.BROADCAST_ARITHMETIC or node.name in graph.regions or node.name in constants:
            continue
        for index, tensor in enumerate(nd.data_inputs(node)):
            stored = _stored(graph, tensor, node, index) if nd.node_name(tensor) in constants else None
            if stored is not None:
                edit.set_input(node.name, index, stored)
                found = True
    return edit.finish() if found else graph


def _stored(graph: Graph, tensor: str, reader: NodeDef, index: int) -> str | None:
    """What a constant operand repeats, if the reader makes the same of that; else None."""
    other, kept = graph.shape(nd.data_inputs(reader)[1 - index]), 2 if reader.op in PRODUCTS else 0
    stored = None
    while (node := graph.producer(tensor)).op in REPEATING | nd.PASS_THROUGH:
        many, (tensor, *_) = graph.shape(tensor), nd.data_inputs(node)
        if node.op in REPEATING:
            if not _is_broadcast(graph.shape(tensor), many, other, kept):
                break
            stored = tensor
    return stored


def _is_broadcast(few: nd.OpenShape | None, many: nd.OpenShape | None, other: nd.OpenShape | None, kept: int) -> bool:
    """Whether an operand has the shape ``many`` beside ``other`` if it is ``few``, whose last axes are ``kept``."""
    if few is None or many is None or other is None or not kept <= len(few) <= len(many) <= len(other):
        return False
    sizes = (*[1] * (len(many) - len(few)), *few)
    broadcast = len(many) - kept
    return sizes[broadcast:] == tuple(many[broadcast:]) and all(
        None not in (size, wanted) and (size == wanted or (size == 1 and wanted == beside))
        for size, wanted, beside in zip(sizes, many[:broadcast], other[len(other) - len(many) :], strict=False)
    )

"""The norms that folding has left in the graph, with the reasons."""

from __future__ import annotations

from collections.abc import Iterable

from tensorflow.core.framework.node_def_pb2 import NodeDef

from calibrant.fold.chain import FoldChain
from calibrant.fold.decomposed_batch_norm import looks_like_norm
from calibrant.fold.fused_norm import FUSED_NORMS
from calibrant.fold.result import NotFused
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph

BETWEEN = frozenset({"BiasAdd", "Add", "AddV2", "Identity", "BatchToSpaceND", "Reshape", "Squeeze"})


def unfused_norms(
    graph: Graph, chains: Iterable[FoldChain | NotFused], unfit: Iterable[NotFused]
) -> tuple[NotFused, ...]:
    """One entry for every norm that is still there, in graph order, and for every node that was to be left alone."""
    reasons = {entry.node: entry.reason for entry in unfit}
    refused: dict[str, str] = {}
    for chain in chains:
        if isinstance(chain, NotFused):
            refused[chain.node] = chain.reason
        elif chain.obstacle is not None:
            reasons.setdefault(chain.obstacle.node, chain.obstacle.reason)
    for node in graph.nodes.values():
        if node.name not in reasons and (node.op in FUSED_NORMS or looks_like_norm(graph, node)):
            reasons[node.name] = _why(graph, node, refused)
    return tuple(NotFused(name, reasons[name]) for name in graph.nodes if name in reasons)


def _why(graph: Graph, norm: NodeDef, refused: dict[str, str]) -> str:
    node = _before(graph, norm)
    while node.op in BETWEEN and node.name not in refused:
        node = _before(graph, node)
    if node.name in refused:
        return f"{node.name!r} ({node.op}) in front of it is left alone: {refused[node.name]}"
    return f"it follows {node.name!r} ({node.op}), not a layer"


def _before(graph: Graph, node: NodeDef) -> NodeDef:
    """The producer of the first input that is not a constant."""
    tensors = nd.data_inputs(node)
    return graph.producer(next((tensor for tensor in tensors if graph.constant(tensor) is None), tensors[0]))

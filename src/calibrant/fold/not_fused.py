"""The norms that folding leaves in the graph, with the reasons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from calibrant.fold.chain import FoldChain
from calibrant.fold.decomposed_batch_norm import looks_like_norm
from calibrant.fold.result import NotFused
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef
from calibrant.layer_kinds import FUSED_NORMS


def unfused_norms(
    graph: Graph, chains: Iterable[FoldChain | NotFused], failed: Iterable[NotFused], before: Iterable[NotFused]
) -> tuple[NotFused, ...]:
    """One entry for every norm that is still there and every node that was to be left unchanged, in graph order.

    Parameters
    ----------
    chains : Iterable[FoldChain | NotFused]
        The chains after layers.
    failed : Iterable[NotFused]
        Nodes that could not be folded because the numbers do not fit.
    before : Iterable[NotFused]
        Why norms before layers cannot be folded into them.
    """
    reasons = {entry.node: entry.reason for entry in failed}
    refused: dict[str, str] = {}
    stops: dict[str, str] = {}
    for chain in chains:
        if isinstance(chain, NotFused):
            refused[chain.node] = chain.reason
            continue
        stops[chain.target.end.name] = chain.stop
        if chain.obstacle is not None:
            reasons.setdefault(chain.obstacle.node, chain.obstacle.reason)
    unfit = {entry.node: entry.reason for entry in before}
    for node in graph.nodes.values():
        if node.name not in reasons and (node.op in FUSED_NORMS or looks_like_norm(graph, node)):
            reasons[node.name] = _reason(graph, node, refused, stops, unfit)
    return tuple(NotFused(name, reasons[name]) for name in graph.nodes if name in reasons)


def _reason(
    graph: Graph, norm: NodeDef, refused: Mapping[str, str], stops: Mapping[str, str], unfit: Mapping[str, str]
) -> str:
    node = first = _before(graph, norm)
    passed = {norm.name}
    while node.name not in refused and node.name not in stops and node.name not in passed and _is_one_way(graph, node):
        passed.add(node.name)
        node = _before(graph, node)
    if node.name in refused:
        return f"{node.name!r} ({node.op}) in front of it is left alone: {refused[node.name]}"
    if stops.get(node.name) == norm.name:
        return f"its constants are not one value for each channel of {node.name!r}"
    if stops.get(node.name) in passed:
        stop = graph.nodes[stops[node.name]]
        return f"{stop.name!r} ({stop.op}) stands between it and the layer {node.name!r}"
    if norm.name in unfit:
        return unfit[norm.name]
    return f"it follows {first.name!r} ({first.op}), not a layer"


def _is_one_way(graph: Graph, node: NodeDef) -> bool:
    """Whether a node has one operand that depends on an input."""
    return sum(graph.constant(tensor) is None for tensor in nd.data_inputs(node)) == 1


def _before(graph: Graph, node: NodeDef) -> NodeDef:
    """The producer of the first input that is not a constant."""
    tensors = nd.data_inputs(node)
    return graph.producer(next((tensor for tensor in tensors if graph.constant(tensor) is None), tensors[0]))

"""What ``skip_fusion_layers`` may name."""

from __future__ import annotations

from calibrant.fold.apply import taken_in
from calibrant.fold.chain import FoldChain
from calibrant.fold.fused_norm import FUSED_NORMS
from calibrant.fold.in_front import norms_in_front
from calibrant.fold.order import chains
from calibrant.fold.result import NotFused
from calibrant.graph.canonical import canonicalize
from calibrant.graph.graph import Graph
from calibrant.graph.layer_kinds import KINDS


def fusible_nodes(graph: Graph) -> frozenset[str]:
    """Names of the layers of a kind that fusions act on, of batch norms, and of nodes that a fusion would take in."""
    graph = canonicalize(graph).graph
    names = {
        node.name
        for node in graph.nodes.values()
        if node.op in FUSED_NORMS or (node.op in KINDS and KINDS[node.op].weight_input is not None)
    }
    for chain in chains(graph, skip=()):
        if isinstance(chain, FoldChain):
            names |= taken_in(chain.steps)
    for norm in norms_in_front(graph, skip=()):
        names |= {norm.node} if isinstance(norm, NotFused) else taken_in(norm.steps)
    return frozenset(names)

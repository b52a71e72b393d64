"""The names that ``skip_fusion_layers`` may contain."""

from __future__ import annotations

from calibrant.fold.apply import absorbed_nodes
from calibrant.fold.chain import FoldChain
from calibrant.fold.norm_before_layer import norms_before_layers
from calibrant.fold.order import chains
from calibrant.fold.result import NotFused
from calibrant.graph.canonical import canonicalize
from calibrant.graph.graph import Graph
from calibrant.layer_kinds import FUSED_NORMS, KINDS


def fusible_nodes(graph: Graph) -> frozenset[str]:
    """Names of the layers of a kind that fusions act on, of batch norms, and of nodes that a fusion would absorb."""
    graph = canonicalize(graph).graph
    names = {
        node.name
        for node in graph.nodes.values()
        if node.op in FUSED_NORMS or (node.op in KINDS and KINDS[node.op].weight_input is not None)
    }
    for chain in chains(graph, skip=()):
        if isinstance(chain, FoldChain):
            names |= absorbed_nodes(chain.steps)
    for norm in norms_before_layers(graph, skip=()):
        names |= {norm.node} if isinstance(norm, NotFused) else absorbed_nodes(norm.steps)
    return frozenset(names)

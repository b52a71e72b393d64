"""Which of some nodes each node of a graph needs."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph


def needs(graph: Graph, marked: Collection[str]) -> Mapping[str, frozenset[str]]:
    """By node, which of the marked nodes it needs, directly or through others, itself included.

    Parameters
    ----------
    graph : Graph
        A graph without loops of TensorFlow 1.x.
    marked : Collection[str]
        Names of nodes.
    """
    needed: dict[str, frozenset[str]] = {}
    for name, node in graph.nodes.items():  # producers come before consumers
        read = {needed[nd.node_name(reference)] for reference in node.input}
        own = frozenset([name]) if name in marked else frozenset[str]()
        needed[name] = next(iter(read)) if len(read) == 1 and not own else own.union(*read)
    return needed


def nearest(needed: Mapping[str, frozenset[str]], name: str) -> frozenset[str]:
    """The marked nodes that a node needs, without those that others of these need.

    Parameters
    ----------
    needed : Mapping[str, frozenset[str]]
        As of :func:`needs`.
    name : str
        A node.
    """
    others = needed[name] - {name}
    return others - frozenset[str]().union(*(needed[other] - {other} for other in others))

"""A graph without its weights, to be asked about everything else."""

from __future__ import annotations

from dataclasses import replace

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.pieces import without_content
from calibrant.graph.running.session import constant_bytes, is_large_constant
from calibrant.graph.tf_core import FunctionDefLibrary, VersionDef


def large_constants(graph: Graph) -> int:
    """Bytes of the large constants of a graph."""
    return sum(constant_bytes(node) for node in graph.nodes.values() if is_large_constant(node))


def skeleton(graph: Graph) -> Graph:
    """A copy whose large constants are zeros, which take no memory; it keeps nothing of the graph alive."""
    library, versions = FunctionDefLibrary(), VersionDef()
    library.CopyFrom(graph.library)
    versions.CopyFrom(graph.versions)
    nodes = {
        name: without_content(node) if is_large_constant(node) else nd.copy_node(node)
        for name, node in graph.nodes.items()
    }
    return replace(graph, nodes=nodes, library=library, versions=versions)

"""The original nodes that each node of an emitted model replaces (``NAME_quant.json``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from calibrant.graph.graph import Graph
from calibrant.records.mapping_file import MappedOp, mapping_json


def node_map(emitted: Graph, original: Graph, absorbed: Mapping[str, Sequence[str]]) -> str:
    """The map as JSON text: name, type and original names of every node that computes something.

    ``absorbed`` holds, by layer, the original nodes that were folded into it.
    """
    entries = []
    for node in emitted.nodes.values():
        if node.op == "Const" or (node.op == "PlaceholderWithDefault" and node.name not in original.nodes):
            continue
        names = [node.name] if node.name in original.nodes else []
        names += [name for name in absorbed.get(node.name, ()) if name not in names]
        entries.append(MappedOp(node.name, node.op, tuple(names)))
    return mapping_json(entries)

"""Nodes that are added to a graph, under names that are still free."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.tf_core import NodeDef


class NodeBuilder:
    """The nodes of a graph while it is being rewritten, by name.

    Parameters
    ----------
    nodes : Mapping[str, NodeDef]
        The nodes before; not changed.
    """

    def __init__(self, nodes: Mapping[str, NodeDef]):
        self.nodes: dict[str, NodeDef] = dict(nodes)

    def put(self, node: NodeDef) -> str:
        """Add a node, or replace the one of that name. Returns its first output tensor."""
        self.nodes[node.name] = node
        return f"{node.name}:0"

    def add(self, op: str, name: str, inputs: Iterable[str], **attributes: Any) -> str:
        """Add a node under a name that is still free (a number is appended if it is not); its first output tensor."""
        return self.put(nd.make_node(op, self.free_name(name), inputs, **attributes))

    def add_constant(self, name: str, value: np.ndarray) -> str:
        """Add a Const under a name that is still free; its tensor."""
        return self.put(nd.constant_node(self.free_name(name), value))

    def free_name(self, name: str) -> str:
        """``name``, or ``name_1``, ``name_2`` … where it is taken."""
        candidate, number = name, 0
        while candidate in self.nodes:
            number += 1
            candidate = f"{name}_{number}"
        return candidate

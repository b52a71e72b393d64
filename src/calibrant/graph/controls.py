"""Control inputs that wait for nothing, and keep constants in a file that no operation reads."""

from __future__ import annotations

from dataclasses import replace

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph, ordered

IDLE = frozenset({"Const", "Identity", "NoOp", "ReadVariableOp", "StopGradient", "PreventGradient", "Snapshot"})


def without_idle_controls(graph: Graph) -> Graph:
    """The graph without control inputs that come from constants alone, and without what only they have kept.

    A frozen Keras model makes its output wait for every weight that it has read.
    """
    if not any(reference.startswith("^") for node in graph.nodes.values() for reference in node.input):
        return graph
    idle: set[str] = set()
    nodes = {}
    for node in graph.nodes.values():
        if node.op in IDLE and all(nd.node_name(reference) in idle for reference in node.input):
            idle.add(node.name)
        controls = nd.control_inputs(node)
        kept = [f"^{name}" for name in controls if name not in idle]
        nodes[node.name] = node if len(kept) == len(controls) else nd.copy_node(node, [*nd.data_inputs(node), *kept])
    return replace(graph, nodes=ordered(nodes, (*graph.outputs, *graph.inputs)))

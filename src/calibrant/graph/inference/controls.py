"""Control inputs that wait for nothing, and keep constants in a file that no operation reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph, ordered
from calibrant.graph.reading.cut_proposal import TABLES

IDLE = nd.PASS_THROUGH - {"CheckNumerics"} | {"Const", "NoOp", "HashTable", "HashTableV2"}
"""What has no effect: the check may fail, and the tables are only handles here."""
ASSIGNS = "_assigns"
"""Attribute of a node that stands in for one that assigns a variable, and so is not idle."""


def without_idle_controls(graph: Graph) -> Graph:
    """The graph without control inputs that come from constants alone, and without what only they have kept.

    A frozen Keras model makes its output wait for every weight that it has read, also where a call that has been
    inlined read the weight as soon as its other arguments were there: the output waits for these instead.
    """
    if not any(reference.startswith("^") for node in graph.nodes.values() for reference in node.input):
        return graph
    waits: dict[str, tuple[str, ...]] = {}  # node whose value is constant → what it waits for all the same
    nodes = {}
    for node in graph.nodes.values():
        data, controls = nd.data_inputs(node), nd.control_inputs(node)
        kept = _awaited(controls, waits)
        is_constant = all(nd.node_name(tensor) in waits for tensor in data)
        if node.op in IDLE and ASSIGNS not in node.attr and is_constant and (node.op != "NoOp" or not kept):
            waits[node.name] = _awaited([*map(nd.node_name, data), *controls], waits)
        nodes[node.name] = node if kept == controls else nd.copy_node(node, [*data, *(f"^{name}" for name in kept)])
    return replace(graph, nodes=ordered(nodes, (*graph.outputs, *graph.inputs)))


def _awaited(names: Iterable[str], waits: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """What remains to be waited for."""
    return tuple(dict.fromkeys(other for name in names for other in waits.get(name, (name,))))


def without_unfed_controls(graph: Graph) -> Graph:
    """The graph without control inputs that come from what depends on placeholders that are not fed, or on tables.

    Where a graph is cut, its outputs may still wait for what lies before the cut, such as a look-up in a table.
    """
    unfed = {name for name, node in graph.nodes.items() if node.op == "Placeholder" and name not in graph.input_nodes}
    tainted = unfed | {name for name, node in graph.nodes.items() if node.op in TABLES}
    if not tainted:
        return graph
    nodes = {}
    for node in graph.nodes.values():
        if any(nd.node_name(tensor) in tainted for tensor in nd.data_inputs(node)):
            tainted.add(node.name)
        controls = nd.control_inputs(node)
        kept = [f"^{name}" for name in controls if name not in tainted]
        nodes[node.name] = node if len(kept) == len(controls) else nd.copy_node(node, [*nd.data_inputs(node), *kept])
    return replace(graph, nodes=ordered(nodes, (*graph.outputs, *graph.inputs)))

"""Variables that a model assigns what it makes of them alone, as masked weights: one run, and they stay as they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from calibrant.errors import ModelError
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph, ordered
from calibrant.graph.inference.assigned_variables import assignments, origin_of
from calibrant.graph.running.run import run_once


def with_settled_variables(graph: Graph) -> tuple[Graph, frozenset[str]]:
    """The graph as it is from its second run on, and what stands in for the assignments that change nothing there.

    The value that is assigned must be made of the variable itself and of constants, of no other variable that is
    assigned, and must be the same when it is assigned once more. It is then what each run but the first begins with,
    so that it does not matter which read is before the assignment.
    """
    assigned = assignments(graph)
    times = Counter(origin_of(graph, name) for name in assigned)
    once = {
        name: tensor
        for name, tensor in assigned.items()
        if tensor is not None
        and nd.node_name(tensor) in graph.nodes
        and times[origin_of(graph, name)] == 1
        and times.keys() & ordered(graph.nodes, [tensor]) == {origin_of(graph, name)}
    }
    first = _values(graph, once)
    first = {name: value for name, value in first.items() if _fits(graph, name, value)}
    while first:
        settled = _with_values(graph, first)
        second = _values(settled, {name: once[name] for name in first})
        same = {name: value for name, value in second.items() if np.array_equal(first[name], value)}
        if len(same) == len(first):
            return settled, frozenset(first)
        first = same
    return graph, frozenset()


def _fits(graph: Graph, name: str, value: np.ndarray) -> bool:
    before = graph.constant(f"{origin_of(graph, name)}:0")
    return before is not None and (before.shape, before.dtype) == (value.shape, value.dtype)


def _values(graph: Graph, tensors: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Name → the value of its tensor, of those that depend on constants only."""
    found = {}
    for name, tensor in tensors.items():
        try:
            nodes = ordered(graph.nodes, [tensor])
            if not any(node.op.startswith("Placeholder") for node in nodes.values()):
                alone = Graph(nodes, (), (tensor,), library=graph.library, versions=graph.versions, source=graph.source)
                [found[name]] = run_once(alone, {})
        except ModelError:
            continue
    return found


def _with_values(graph: Graph, values: Mapping[str, np.ndarray]) -> Graph:
    edit = graph.edit()
    for name, value in values.items():
        edit.put(nd.constant_node(origin_of(graph, name), value))
    return edit.finish()

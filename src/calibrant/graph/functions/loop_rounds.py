"""How often a loop of functions runs, where that is known beforehand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.functions.control_flow import LOOPS
from calibrant.graph.graph import Graph
from calibrant.graph.known_sizes import PICKING, picked_sizes
from calibrant.graph.tf_core import FunctionDef, NodeDef
from calibrant.layer_kinds import ADDITIONS


def loop_rounds(graph: Graph, loop: NodeDef) -> int | None:
    """At most, by the limits that its condition compares counters with; None where none is known."""
    if loop.op not in LOOPS:
        return None
    functions = {function.signature.name: function for function in graph.library.function}
    condition, body = (functions.get(loop.attr[key].func.name) for key in ("cond", "body"))
    if condition is None or body is None:
        return None
    given = nd.data_inputs(loop)
    found = []
    for counter, limit in _compared(condition):
        start = _whole(graph, given[counter]) if _counts(body, counter) else None
        if isinstance(limit, NodeDef):
            end = _one_number(nd.constant_value(limit))
        else:
            end = _whole(graph, given[limit]) if _is_kept(body, limit) else None
        if start is not None and end is not None and end > start:
            found.append(end - start)
    return min(found, default=None)


def changed_arguments(body: FunctionDef) -> list[int]:
    """Positions of the arguments that a body does not hand on as they are."""
    return [place for place in range(len(body.signature.input_arg)) if not _is_kept(body, place)]


def _compared(condition: FunctionDef) -> Iterator[tuple[int, int | NodeDef]]:
    """Position of an argument, and of another one or a constant: the loop goes on while it is less."""
    nodes = {node.name: node for node in condition.node_def}
    arguments = [argument.name for argument in condition.signature.input_arg]
    waiting = list(condition.ret.values())
    for reference in waiting:
        node = nodes.get(reference.split(":")[0])
        if node is not None and node.op in nd.PASS_THROUGH | {"LogicalAnd"}:
            waiting += [read for read in node.input if not read.startswith("^")]
        elif node is not None and node.op == "Less":
            counter, limit = (origin(nodes, reference) for reference in node.input[:2])
            if counter in arguments and limit in arguments:
                yield arguments.index(counter), arguments.index(limit)
            elif counter in arguments and nodes[limit].op == "Const":
                yield arguments.index(counter), nodes[limit]


def _is_kept(body: FunctionDef, place: int) -> bool:
    """Whether an argument of a body comes back as it is."""
    return _made(body, place) == body.signature.input_arg[place].name


def _counts(body: FunctionDef, place: int) -> bool:
    """Whether an argument of a body comes back with one added."""
    nodes = {node.name: node for node in body.node_def}
    node = nodes.get(_made(body, place))
    if node is None or node.op not in ADDITIONS:
        return False
    read = [origin(nodes, reference) for reference in node.input[:2]]
    others = [nodes[name] for name in read if name in nodes]
    is_one = len(others) == 1 and others[0].op == "Const" and np.all(nd.constant_value(others[0]) == 1)
    return bool(is_one) and body.signature.input_arg[place].name in read


def _made(function: FunctionDef, place: int) -> str:
    """What a function gives back in a place: a node, or an argument that is handed on."""
    nodes = {node.name: node for node in function.node_def}
    return origin(nodes, function.ret[function.signature.output_arg[place].name])


def origin(nodes: Mapping[str, NodeDef], reference: str) -> str:
    """The node or argument that something in a function is, past what only hands it on."""
    name = reference.split(":")[0]
    while name in nodes and nodes[name].op in nd.PASS_THROUGH:
        name = nodes[name].input[0].split(":")[0]
    return name


def _whole(graph: Graph, tensor: str) -> int | None:
    """A known whole number, be it a size of a tensor whose other sizes are open."""
    value, node = graph.constant(tensor), graph.producer(tensor)
    if value is None and node.op in nd.PASS_THROUGH:
        return _whole(graph, nd.data_inputs(node)[0])
    if value is None and node.op in PICKING:
        value = picked_sizes(graph, node)
    return None if value is None else _one_number(value)


def _one_number(value: np.ndarray) -> int | None:
    return int(value.reshape(())) if value.size == 1 and value.dtype.kind == "i" else None

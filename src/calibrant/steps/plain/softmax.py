"""Step: a softmax over the last axis that is written as exp(x − max(x)) / Σ exp(x − max(x)), or as exp(log_softmax(x)),
becomes the operation.

The converter rewrites it as well, but then the graph has no function of which it is known what it makes of its numbers.
"""

from __future__ import annotations

from collections.abc import Callable

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef
from calibrant.steps.plain.nodes import beside_number, float_nodes, put_last

NOTHING = 1e-6
"""What may be added to a sum of which one summand is 1."""


def with_plain_softmax(graph: Graph) -> Graph:
    """The graph with every such softmax as one operation, which has the name of the last one that it stands for."""
    edit, found = graph.edit(), False
    for node in float_nodes(graph, READ):
        read = READ[node.op](graph, node)
        if read is not None:
            put_last(edit, "Softmax", node, read)
            found = True
    return edit.finish() if found else graph


def _read_by_quotient(graph: Graph, node: NodeDef) -> str | None:
    """The tensor of which a quotient is the softmax."""
    exponentials, divisor = nd.data_inputs(node)
    exponential, total = graph.producer(exponentials), graph.producer(divisor)
    if exponential.op != "Exp":
        return None
    [shifted] = nd.data_inputs(exponential)
    read = _without_largest(graph, shifted)
    if read is not None:
        total = _without_nothing(graph, total)
    return (read or shifted) if _reduces(graph, total, "Sum", exponentials) else None


def _read_by_exponential(graph: Graph, node: NodeDef) -> str | None:
    """The tensor of whose softmax a node is the exponential of the logarithm."""
    logarithm = graph.producer(nd.data_inputs(node)[0])
    return nd.data_inputs(logarithm)[0] if logarithm.op == "LogSoftmax" else None


def _without_largest(graph: Graph, tensor: str) -> str | None:
    """The tensor from which the largest number of each row has been subtracted."""
    node = graph.producer(tensor)
    if node.op != "Sub":
        return None
    read, subtracted = nd.data_inputs(node)
    largest = graph.producer(subtracted)
    return read if _reduces(graph, largest, "Max", read) else None


def _without_nothing(graph: Graph, total: NodeDef) -> NodeDef:
    tensor = beside_number(graph, total, lambda added: 0 <= added <= NOTHING)
    return total if tensor is None else graph.producer(tensor)


def _reduces(graph: Graph, node: NodeDef, op: str, tensor: str) -> bool:
    """Whether a node is this reduction of a tensor over the last axis, which stays."""
    if node.op != op or not nd.attribute(node, "keep_dims") or nd.data_inputs(node)[0] != tensor:
        return False
    shape, axes = graph.shape(tensor), graph.constant(nd.data_inputs(node)[1])
    return bool(axes is not None and axes.size == 1 and shape and int(axes.item()) in (-1, len(shape) - 1))


READ: dict[str, Callable[[Graph, NodeDef], str | None]] = {
    **dict.fromkeys(("RealDiv", "Div"), _read_by_quotient),
    "Exp": _read_by_exponential,
}

"""Step: in exp(x − reduce_logsumexp(x)), Keras' softmax over several axes, no largest number is asked for being finite.
A row of −∞ alone is no number either way, ∞ has no code, and the converter makes operators of the question that
have no scale.
"""

from __future__ import annotations

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef
from calibrant.steps.plain.nodes import float_nodes, put_last


def with_plain_log_sums(graph: Graph) -> Graph:
    """The graph with the largest numbers themselves in such softmaxes."""
    edit, found = graph.edit(), False
    for node in float_nodes(graph, ("Exp",)):
        chosen = _finite_largest(graph, node)
        if chosen is not None and len(graph.consumers(f"{chosen.name}:0")) == 1:
            put_last(edit, "Identity", chosen, nd.data_inputs(chosen)[1])
            found = True
    return edit.finish() if found else graph


def _finite_largest(graph: Graph, node: NodeDef) -> NodeDef | None:
    """What puts zeros in place of infinite largest numbers, where a node is the softmax of what they are from."""
    shares = graph.producer(nd.data_inputs(node)[0])
    if shares.op != "Sub":
        return None
    read, subtracted = nd.data_inputs(shares)
    total = graph.producer(subtracted)
    if total.op not in ("Add", "AddV2"):
        return None
    logarithm, largest = map(graph.producer, nd.data_inputs(total))
    reduced = _behind(graph, logarithm, "Log", "Sum", "Exp", "Sub")
    while largest.op in nd.PASS_THROUGH:
        largest = graph.producer(nd.data_inputs(largest)[0])
    if reduced is None or largest.op != "SelectV2" or nd.data_inputs(reduced) != (read, nd.data_inputs(total)[1]):
        return None
    condition, chosen, _ = nd.data_inputs(largest)
    asked, made = graph.producer(condition), graph.producer(chosen)
    is_largest = asked.op == "IsFinite" and nd.data_inputs(asked)[0] == chosen and made.op == "Max"
    return largest if is_largest and nd.data_inputs(made)[0] == read else None


def _behind(graph: Graph, node: NodeDef, *ops: str) -> NodeDef | None:
    """The last of a row of operations, each of which is the first input of the one before."""
    for place, op in enumerate(ops):
        node = graph.producer(nd.data_inputs(node)[0]) if place else node
        if node.op != op:
            return None
    return node

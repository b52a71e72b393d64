"""Step: a sum of several tensors becomes sums of two, which have an integer kernel and ranges that can be observed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.tf_core import NodeDef
from calibrant.steps.plain.nodes import add_inner, float_nodes, put_last

AT_ONCE = 8
"""What TensorFlow's kernel adds up before it adds that to the sum."""


def with_plain_sums(graph: Graph) -> Graph:
    """The graph with sums of two, added in the order of TensorFlow's kernel; the last has the name of the node."""
    edit = graph.edit()
    found = [node for node in float_nodes(graph, ("AddN",)) if len(nd.data_inputs(node)) > 1]
    for node in found:
        _in_turn(edit, node)
    return edit.finish() if found else graph


def _in_turn(edit: Edit, node: NodeDef) -> None:
    names = map("sum_{}".format, range(len(nd.data_inputs(node))))

    def add(one: str, other: str) -> str:
        return add_inner(edit, "AddV2", node, next(names), one, other)

    *groups, last = _groups(nd.data_inputs(node))
    if groups:
        put_last(edit, "AddV2", node, reduce(add, (reduce(add, group) for group in groups)), reduce(add, last))
    else:
        put_last(edit, "AddV2", node, reduce(add, last[:-1]), last[-1])


def _groups(tensors: Sequence[str]) -> list[Sequence[str]]:
    """The first two to nine, then eight each."""
    first = (len(tensors) - 2) % AT_ONCE + 2
    return [tensors[:first], *(tensors[at : at + AT_ONCE] for at in range(first, len(tensors), AT_ONCE))]

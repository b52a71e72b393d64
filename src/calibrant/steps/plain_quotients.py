"""Step: quotients by a root, by 1 + |x| and by 1 + exp(-x) become products.

LiteRT's integer kernel of DIV ends at a divisor whose code is 0, whatever number that is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.tf_core import NodeDef, dtypes
from calibrant.steps.plain_functions import add_inner, beside_one, put_last

Rewrite = Callable[[Edit], None]


def with_plain_quotients(graph: Graph) -> Graph:
    """The graph without x / sqrt(y), x / (1 + |x|) and x / (1 + exp(-y)); the same up to rounding.

    The product has the quotient's name.
    """
    edit = graph.edit()
    nodes = (node for node in graph.nodes.values() if node.op in READ and node.name not in graph.regions)
    found = [READ[node.op](graph, node) for node in nodes if nd.attribute(node, "T") == dtypes.float32]
    for rewrite in found:
        if rewrite is not None:
            rewrite(edit)
    return edit.finish() if any(found) else graph


def _quotient(graph: Graph, node: NodeDef) -> Rewrite | None:
    data, divisor = nd.data_inputs(node)
    maker = graph.producer(divisor)
    if maker.op == "Sqrt" and graph.constant(divisor) is None:
        [squares] = nd.data_inputs(maker)
        return lambda edit: _product(edit, node, data, add_inner(edit, "Rsqrt", node, "reciprocal_root", squares))
    tensor = beside_one(graph, maker)
    if tensor is None:
        return None
    beside = graph.producer(tensor)
    if beside.op == "Abs" and nd.data_inputs(beside)[0] == data:
        return lambda edit: _softsign(edit, node, data)
    negated = graph.producer(nd.data_inputs(beside)[0]) if beside.op == "Exp" else None
    if negated is None or negated.op != "Neg":
        return None
    [read] = nd.data_inputs(negated)
    return lambda edit: _product(edit, node, data, add_inner(edit, "Sigmoid", node, "share", read))


def _softsign(edit: Edit, node: NodeDef, data: str) -> None:
    """x · r², where r = 1 / sqrt(1 + |x|): neither is far from 1 where x is not."""
    one = edit.add_constant(f"{node.name}/one", np.float32(1))
    size = add_inner(edit, "AddV2", node, "sum", add_inner(edit, "Abs", node, "absolute", data), one)
    root = add_inner(edit, "Rsqrt", node, "reciprocal_root", size)
    _product(edit, node, data, add_inner(edit, "Mul", node, "reciprocal", root, root))


def _product(edit: Edit, node: NodeDef, first: str, second: str) -> None:
    put_last(edit, "Mul", node, first, second)


READ: dict[str, Callable[[Graph, NodeDef], Rewrite | None]] = {
    **dict.fromkeys(("RealDiv", "Div"), _quotient),
    "Softsign": lambda graph, node: lambda edit: _softsign(edit, node, nd.data_inputs(node)[0]),
}

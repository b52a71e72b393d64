"""Step: quotients by a root, by 1 + |x|, by 1 + exp(-x) and by norms become products.

LiteRT's integer kernel of DIV ends at a divisor whose code is 0, whatever number that is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.tf_core import NodeDef
from calibrant.steps.plain.nodes import add_inner, beside_number, float_nodes, put_last
from calibrant.steps.ranges.norms import KEEPING, is_norm_above_zero

MOVING = KEEPING | {"BroadcastTo", "StopGradient", "Tile"}


def with_plain_quotients(graph: Graph) -> Graph:
    """The graph without x / sqrt(y), x / (1 + |x|), x / (1 + exp(-y)) and quotients by norms; the same up to rounding.

    The product has the quotient's name.
    """
    edit, found = graph.edit(), False
    for node in float_nodes(graph, FACTORS):
        factor = FACTORS[node.op](edit, node)
        if factor is not None:
            put_last(edit, "Mul", node, nd.data_inputs(node)[0], factor)
            found = True
    return edit.finish() if found else graph


def _reciprocal(edit: Edit, node: NodeDef) -> str | None:
    """What a quotient's first operand is multiplied by, where kernels know the divisor."""
    graph = edit.graph
    data, divisor = nd.data_inputs(node)
    maker = graph.producer(divisor)
    if graph.constant(divisor) is None and (root := _reciprocal_root(edit, node)) is not None:
        return root
    tensor = beside_number(graph, maker, lambda added: added == 1)
    if tensor is not None:
        beside = graph.producer(tensor)
        if beside.op == "Abs" and nd.data_inputs(beside)[0] == data:
            return _softsign_share(edit, node)
        negated = graph.producer(nd.data_inputs(beside)[0]) if beside.op == "Exp" else None
        if negated is not None and negated.op == "Neg":
            return add_inner(edit, "Sigmoid", node, "share", *nd.data_inputs(negated))
    return _reciprocal_of_norm(edit, node) if is_norm_above_zero(graph, divisor) else None


def _reciprocal_root(edit: Edit, node: NodeDef) -> str | None:
    """1 / sqrt(y) for a divisor that is sqrt(y), or made of it by operations that move or repeat its numbers."""
    moving: list[NodeDef] = []
    maker = edit.graph.producer(nd.data_inputs(node)[1])
    while maker.op in MOVING:
        moving.append(maker)
        maker = edit.graph.producer(nd.data_inputs(maker)[0])
    if maker.op != "Sqrt":
        return None
    made = add_inner(edit, "Rsqrt", node, "reciprocal_root", *nd.data_inputs(maker))
    for each in reversed(moving):
        twin = nd.copy_node(each, [made, *nd.data_inputs(each)[1:]])
        twin.name = edit.free_name(f"{node.name}/{each.op}")
        made = edit.put(twin)
    return made


def _reciprocal_of_norm(edit: Edit, node: NodeDef) -> str:
    """r², where r = 1 / sqrt(y): there is no integer kernel of 1 / y itself."""
    root = add_inner(edit, "Rsqrt", node, "reciprocal_root", nd.data_inputs(node)[1])
    return add_inner(edit, "Mul", node, "reciprocal", root, root)


def _softsign_share(edit: Edit, node: NodeDef) -> str:
    """r², where r = 1 / sqrt(1 + |x|): neither is far from 1 where x is not."""
    one = edit.add_constant(f"{node.name}/one", np.float32(1))
    absolute = add_inner(edit, "Abs", node, "absolute", nd.data_inputs(node)[0])
    root = add_inner(edit, "Rsqrt", node, "reciprocal_root", add_inner(edit, "AddV2", node, "sum", absolute, one))
    return add_inner(edit, "Mul", node, "reciprocal", root, root)


FACTORS: dict[str, Callable[[Edit, NodeDef], str | None]] = {
    **dict.fromkeys(("RealDiv", "Div"), _reciprocal),
    "Softsign": _softsign_share,
}

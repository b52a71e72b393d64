"""Step: Softplus, Selu, Log1p, Expm1 and x / sqrt(y) become operations that have integer kernels.

The converter rewrites them as well, but then the graph does not have the numbers between its operators; and it makes an
exponential of the first two, whose numbers eight bits cannot hold.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.builder import NodeBuilder
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef, dtypes

SELU_SCALE = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772
"""G. Klambauer et al., Self-Normalizing Neural Networks (2017), as TensorFlow's kernel has them."""


def with_plain_functions(graph: Graph) -> Graph:
    """The graph without these operations; the same up to rounding.

    The last operation has the name of the one that it stands for.
    """
    edit = graph.edit()
    found = [node for node in graph.nodes.values() if _is_rewritten(graph, node)]
    for node in found:
        REWRITES[node.op](edit, node)
    return edit.finish() if found else graph


def _is_rewritten(graph: Graph, node: NodeDef) -> bool:
    if node.op not in REWRITES or node.name in graph.regions or nd.attribute(node, "T") != dtypes.float32:
        return False
    *_, read = nd.data_inputs(node)
    divides = node.op not in QUOTIENTS or graph.nodes[nd.node_name(read)].op == "Sqrt"
    return divides and graph.constant(read) is None


def _softplus(edit: NodeBuilder, node: NodeDef) -> None:
    """relu(x) − log(sigmoid(max(x, −x))): the sigmoid is at least a half, so that codes of its logarithm are near.

    The kernel of ABS takes longer than those of a product and a maximum.
    """
    [data] = nd.data_inputs(node)
    positive = _add(edit, "Relu", node, "positive", data)
    negated = _add(edit, "Mul", node, "negated", data, edit.add_constant(f"{node.name}/minus_one", np.float32(-1)))
    share = _add(edit, "Sigmoid", node, "share", _add(edit, "Maximum", node, "absolute", data, negated))
    _end(edit, "Sub", node, positive, _add(edit, "Log", node, "logarithm", share))


def _selu(edit: NodeBuilder, node: NodeDef) -> None:
    """min(relu(x · scale), elu(x) · scale · alpha): where x > 0, the second is larger, as alpha is above 1."""
    [data] = nd.data_inputs(node)
    scale, both = (
        edit.add_constant(f"{node.name}/{name}", np.float32(value))
        for name, value in (("scale", SELU_SCALE), ("scale_alpha", SELU_SCALE * SELU_ALPHA))
    )
    positive = _add(edit, "Relu", node, "positive", _add(edit, "Mul", node, "scaled", data, scale))
    negative = _add(edit, "Mul", node, "negative", _add(edit, "Elu", node, "elu", data), both)
    _end(edit, "Minimum", node, positive, negative)


def _log1p(edit: NodeBuilder, node: NodeDef) -> None:
    one = edit.add_constant(f"{node.name}/one", np.float32(1))
    _end(edit, "Log", node, _add(edit, "AddV2", node, "sum", *nd.data_inputs(node), one))


def _expm1(edit: NodeBuilder, node: NodeDef) -> None:
    one = edit.add_constant(f"{node.name}/one", np.float32(1))
    _end(edit, "Sub", node, _add(edit, "Exp", node, "exponential", *nd.data_inputs(node)), one)


def _divided_by_root(edit: NodeBuilder, node: NodeDef) -> None:
    data, root = nd.data_inputs(node)
    squares = nd.data_inputs(edit.nodes[nd.node_name(root)])
    _end(edit, "Mul", node, data, _add(edit, "Rsqrt", node, "reciprocal_root", *squares))


def _add(edit: NodeBuilder, op: str, node: NodeDef, name: str, *inputs: str) -> str:
    return edit.add(op, f"{node.name}/{name}", inputs, T=dtypes.float32)


def _end(edit: NodeBuilder, op: str, node: NodeDef, *inputs: str) -> None:
    controls = (f"^{name}" for name in nd.control_inputs(node))
    edit.put(nd.make_node(op, node.name, [*inputs, *controls], T=dtypes.float32))


QUOTIENTS = ("RealDiv", "Div")
REWRITES: dict[str, Callable[[NodeBuilder, NodeDef], None]] = {
    "Softplus": _softplus,
    "Selu": _selu,
    "Log1p": _log1p,
    "Expm1": _expm1,
    **dict.fromkeys(QUOTIENTS, _divided_by_root),
}

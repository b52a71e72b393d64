"""Step: functions without an integer kernel become operations that have one.

These are Softplus, Selu, Log1p, Expm1, squares, squared differences of many axes, cubes and bounded 1 / sqrt(y).

The converter rewrites them as well, but then the graph does not have the numbers between its operators; and it makes an
exponential of the first two, whose numbers eight bits cannot hold.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.tf_core import NodeDef
from calibrant.layer_kinds import KINDS
from calibrant.steps.plain.nodes import add_inner, beside_number, float_nodes, put_last
from calibrant.steps.ranges.saturating_reads import is_result

ZERO_NEAR_ZERO = frozenset({"Softplus", "Log1p", "Expm1"})
"""What is 0 in the other form where it is less than half of float32's last digit of 1."""
SMALLEST_NUMBER = 1e-5
"""Of a constant beside which that is nothing."""
ENLARGING = frozenset({"Log", "Rsqrt", "Sqrt", "Pow", "Reciprocal", "Inv"})
DIVIDING = frozenset({"RealDiv", "Div", "DivNoNan", "Xdivy", "FloorDiv", "FloorMod"})
AVERAGING = frozenset({"Mean"})
"""What makes no number near zero of small and large ones."""
MOST_AXES = 4
"""Of what the converter makes a SQUARED_DIFFERENCE; of more axes it makes a difference and a square."""
SELU_SCALE = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772
"""G. Klambauer et al., Self-Normalizing Neural Networks (2017), as TensorFlow's kernel has them."""


def with_plain_functions(graph: Graph) -> Graph:
    """The graph without these operations; the same up to the rounding of numbers near 1.

    The last operation has the name of the one that it stands for. A Softplus whose smallest numbers are divided by, or
    whose logarithm is taken, stays.
    """
    edit = graph.edit()
    found = [node for node in float_nodes(graph, REWRITES) if _is_rewritten(graph, node)]
    for node in found:
        REWRITES[node.op](edit, node)
    return edit.finish() if found else graph


def _is_rewritten(graph: Graph, node: NodeDef) -> bool:
    if node.op == "Minimum":
        return _bounded_root(graph, node) is not None
    if node.op == "Pow":
        return _power(graph, node) in (2, 3) and _may_have_codes(graph, node)
    if node.op == "Log":
        return _softplus_of(graph, node) is not None and not _has_to_be_positive(graph, node)
    if node.op == "SquaredDifference":
        return _has_many_axes(graph, node) and _may_have_codes(graph, node)
    *_, read = nd.data_inputs(node)
    if graph.constant(read) is not None:
        return False
    if node.op == "Square":
        return not _is_part(graph, node) and _may_have_codes(graph, node)
    return node.op not in ZERO_NEAR_ZERO or not _has_to_be_positive(graph, node)


def _may_have_codes(graph: Graph, power: NodeDef) -> bool:
    """Whether a power's smallest numbers do not count; as a result of the network they do."""
    return not is_result(graph, power.name) and not _has_to_be_positive(graph, power, AVERAGING)


def _is_part(graph: Graph, square: NodeDef) -> bool:
    """Whether the converter may make one operator of a square and its neighbours: a squared difference, or a norm."""
    difference = graph.producer(nd.data_inputs(square)[0]).op == "Sub" and not _has_many_axes(graph, square)
    return difference or any(reader.op == "Sum" for reader, _ in graph.consumers(f"{square.name}:0"))


def _has_many_axes(graph: Graph, node: NodeDef) -> bool:
    return len(graph.shape(f"{node.name}:0") or ()) > MOST_AXES


def _has_to_be_positive(graph: Graph, node: NodeDef, ends: frozenset[str] = frozenset()) -> bool:
    """Whether what makes much of the smallest numbers may read a result before a layer or an end does."""
    seen = {node.name}
    waiting = [f"{node.name}:0"]
    for tensor in waiting:
        for reader, place in graph.consumers(tensor):
            if reader.op in ENLARGING or (reader.op in DIVIDING and place == 1):
                return True
            ended = reader.op in KINDS or reader.op in ends or _adds_a_constant(graph, reader)
            if reader.name not in seen and not ended:
                seen.add(reader.name)
                waiting += [f"{reader.name}:{index}" for index in graph.read_outputs(reader.name)]
    return False


def _adds_a_constant(graph: Graph, node: NodeDef) -> bool:
    constants = [graph.constant(tensor) for tensor in nd.data_inputs(node)] if node.op in ("Add", "AddV2") else []
    return any(value is not None and value.size and value.min() > SMALLEST_NUMBER for value in constants)


def _softplus(edit: Edit, node: NodeDef) -> None:
    """relu(x) − log(sigmoid(max(x, −x))): the sigmoid is at least a half, so that codes of its logarithm are near.

    The kernel of ABS takes longer than those of a product and a maximum.
    """
    data = _softplus_of(edit.graph, node) or nd.data_inputs(node)[0]
    positive = add_inner(edit, "Relu", node, "positive", data)
    negated = add_inner(edit, "Mul", node, "negated", data, edit.add_constant(f"{node.name}/minus_one", np.float32(-1)))
    share = add_inner(edit, "Sigmoid", node, "share", add_inner(edit, "Maximum", node, "absolute", data, negated))
    put_last(edit, "Sub", node, positive, add_inner(edit, "Log", node, "logarithm", share))


def _softplus_of(graph: Graph, node: NodeDef) -> str | None:
    """What a logarithm is the Softplus of: it reads exp(x) + 1, of which eight bits cannot hold the exponential."""
    maker = graph.producer(nd.data_inputs(node)[0])
    if node.op == "Log1p":
        exponential = maker
    else:
        beside = beside_number(graph, maker, lambda added: added == 1)
        if beside is None:
            return None
        exponential = graph.producer(beside)
    return nd.data_inputs(exponential)[0] if exponential.op == "Exp" else None


def _selu(edit: Edit, node: NodeDef) -> None:
    """min(relu(x · scale), elu(x) · scale · alpha): where x > 0, the second is larger, as alpha is above 1."""
    [data] = nd.data_inputs(node)
    scale, both = (
        edit.add_constant(f"{node.name}/{name}", np.float32(value))
        for name, value in (("scale", SELU_SCALE), ("scale_alpha", SELU_SCALE * SELU_ALPHA))
    )
    positive = add_inner(edit, "Relu", node, "positive", add_inner(edit, "Mul", node, "scaled", data, scale))
    negative = add_inner(edit, "Mul", node, "negative", add_inner(edit, "Elu", node, "elu", data), both)
    put_last(edit, "Minimum", node, positive, negative)


def _log1p(edit: Edit, node: NodeDef) -> None:
    if _softplus_of(edit.graph, node) is not None:
        _softplus(edit, node)
        return
    one = edit.add_constant(f"{node.name}/one", np.float32(1))
    put_last(edit, "Log", node, add_inner(edit, "AddV2", node, "sum", *nd.data_inputs(node), one))


def _expm1(edit: Edit, node: NodeDef) -> None:
    one = edit.add_constant(f"{node.name}/one", np.float32(1))
    put_last(edit, "Sub", node, add_inner(edit, "Exp", node, "exponential", *nd.data_inputs(node)), one)


def _power(graph: Graph, node: NodeDef) -> float | None:
    """The constant exponent of a power."""
    value = graph.constant(nd.data_inputs(node)[1])
    return float(value.item()) if value is not None and value.ndim == 0 else None


def _square_or_cube(edit: Edit, node: NodeDef) -> None:
    data = nd.data_inputs(node)[0]
    is_cube = node.op == "Pow" and _power(edit.graph, node) == 3
    put_last(edit, "Mul", node, add_inner(edit, "Mul", node, "square", data, data) if is_cube else data, data)


def _squared_difference(edit: Edit, node: NodeDef) -> None:
    difference = add_inner(edit, "Sub", node, "difference", *nd.data_inputs(node))
    put_last(edit, "Mul", node, difference, difference)


def _bounded_root(graph: Graph, node: NodeDef) -> tuple[str, np.ndarray] | None:
    """What a reciprocal root is taken of that a constant bounds, and the least of it that counts."""
    for data, bound in (nd.data_inputs(node), nd.data_inputs(node)[::-1]):
        limit, root = graph.constant(bound), graph.producer(data)
        if limit is not None and limit.size == 1 and root.op == "Rsqrt" and _is_sum_of_squares(graph, root):
            with np.errstate(divide="ignore", over="ignore", under="ignore"):
                least = 1 / np.square(limit.astype(np.float32))
            if limit > 0 and np.finfo(np.float32).tiny <= least < np.inf:
                return nd.data_inputs(root)[0], least
    return None


def _is_sum_of_squares(graph: Graph, root: NodeDef) -> bool:
    """Whether a root is of numbers that cannot be negative: of others it is NaN, whatever bounds it."""
    [read] = nd.data_inputs(root)
    node = graph.producer(read)
    while node.op in ("Sum", "Mean", "Identity", "Reshape"):
        node = graph.producer(nd.data_inputs(node)[0])
    return node.op == "Square" or (node.op == "Mul" and len(set(nd.data_inputs(node))) == 1)


def _root_of_what_is_bounded(edit: Edit, node: NodeDef) -> None:
    """rsqrt(max(y, 1 / bound²)): kernels of LiteRT do not make infinity of 0, and it knows this as a normalization."""
    root = _bounded_root(edit.graph, node)
    assert root is not None
    least = edit.add_constant(f"{node.name}/least", root[1])
    put_last(edit, "Rsqrt", node, add_inner(edit, "Maximum", node, "bounded", root[0], least))


REWRITES: dict[str, Callable[[Edit, NodeDef], None]] = {
    "Softplus": _softplus,
    "Selu": _selu,
    "Log1p": _log1p,
    "Expm1": _expm1,
    "Log": _softplus,
    "Square": _square_or_cube,
    "SquaredDifference": _squared_difference,
    "Pow": _square_or_cube,
    "Minimum": _root_of_what_is_bounded,
}

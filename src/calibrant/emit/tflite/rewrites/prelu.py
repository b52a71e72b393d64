"""PReLU however it is written, as the form that the converter makes one operator of.

Everything that is computed of x by ReLU, minus, absolute values, sums, largest and smallest of two, choices by its sign
and products with constants is one slope times x below zero, and another one times x above. Where the second one is 1,
it is a PReLU.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.tf_core import NodeDef, dtypes

SUMS = frozenset({"Add", "AddV2", "Sub"})
CHOICES = frozenset({"Select", "SelectV2"})
ENDS = SUMS | CHOICES | {"Maximum", "Minimum"}
"""What a PReLU that is written out ends in."""
ABOVE, BELOW = frozenset({"Greater", "GreaterEqual"}), frozenset({"Less", "LessEqual"})
DEEPEST = 6
"""How many operations in a row may be one PReLU."""
MOST_AXES = 4
"""That the converter takes."""
SAME = 1e-6
"""Relative difference up to which a slope is 1."""

_Slopes = tuple[np.ndarray, np.ndarray]


def prelu_as_one_operator(edit: Edit) -> None:
    """Write PReLU of float32 as relu(x) + (-a) relu(-x), and with one slope for all numbers as LeakyRelu."""
    graph = edit.graph
    for node in graph.nodes.values():
        if node.op not in ENDS or node.attr["T"].type != dtypes.float32 or node.name in graph.regions:
            continue
        found = _prelu(graph, node)
        if found is not None:
            _put(edit, node, *found)


def _put(edit: Edit, node: NodeDef, x: str, slopes: np.ndarray) -> None:
    controls, kind = nd.control_references(node), {"T": dtypes.float32}
    if slopes.size == 1:
        edit.put(nd.make_node("LeakyRelu", node.name, [x, *controls], **kind, alpha=float(slopes.reshape(()))))
        return
    factors = edit.add_constant(f"{node.name}/slopes", -slopes)
    negative = edit.add("Relu", f"{node.name}/negative", [edit.add("Neg", f"{node.name}/minus", [x], **kind)], **kind)
    inputs = [
        edit.add("Relu", f"{node.name}/positive", [x], **kind),
        edit.add("Mul", f"{node.name}/sloped", [negative, factors], **kind),
    ]
    edit.put(nd.make_node("AddV2", node.name, [*inputs, *controls], **kind))


def _prelu(graph: Graph, node: NodeDef) -> tuple[str, np.ndarray] | None:
    """What a node is the PReLU of, and the slopes, with the axes of a sample."""
    read = nd.data_inputs(node)[1 if node.op in CHOICES else 0 :]
    operands = [tensor for tensor in read if not _is_zero(graph, tensor)]
    if len(operands) < 2:
        return None
    near, far = (list(_read(graph, tensor)) for tensor in operands)
    for x in dict.fromkeys(tensor for tensor in near if tensor in far):
        found = _slopes(graph, f"{node.name}:0", x)
        if (
            found is None
            or not np.allclose(found[1], 1, rtol=0, atol=SAME)
            or np.all((found[0] == 0) | (found[0] == 1))
        ):
            continue  # with the last it is x itself or its ReLU
        slopes = _of_a_sample(found[0], graph.shape(x))
        if slopes is not None:
            return x, slopes
    return None


def _read(graph: Graph, tensor: str) -> Iterator[str]:
    """A tensor and what it is computed from, nearest first, as far as a PReLU may reach."""
    row = [tensor]
    for _ in range(DEEPEST):
        yield from row
        makers = [graph.producer(each) for each in row]
        row = [read for maker in makers if maker.op in _KNOWN for read in nd.data_inputs(maker)]
        row = list(dict.fromkeys(read for read in row if graph.constant(read) is None))


def _of_a_sample(slopes: np.ndarray, shape: nd.OpenShape | None) -> np.ndarray | None:
    """Slopes with all axes but the first one, as the converter wants them; None where it would make no operator."""
    if slopes.size == 1:
        return slopes.astype(np.float32) if 0 < slopes.reshape(()) < 1 else None
    if shape is None or not 2 <= len(shape) <= MOST_AXES or slopes.ndim > len(shape):
        return None
    sizes = (1,) * (len(shape) - slopes.ndim) + slopes.shape
    if sizes[0] != 1 or any(size not in (1, wanted) for size, wanted in zip(sizes, shape, strict=True)):
        return None
    return slopes.reshape(sizes[1:]).astype(np.float32)


def _slopes(graph: Graph, tensor: str, x: str, deep: int = 0) -> _Slopes | None:
    """By what a tensor multiplies x below and above zero; None where it is no such product."""
    if tensor == x:
        return np.float64(1), np.float64(1)
    if _is_zero(graph, tensor):
        return np.float64(0), np.float64(0)
    node = graph.producer(tensor)
    if deep > DEEPEST or node.op not in _KNOWN:
        return None
    read = nd.data_inputs(node)
    if node.op in CHOICES:
        return _chosen(graph, read, x, deep)
    if node.op in ("Mul", "RealDiv"):
        return _multiplied(graph, node, x, deep)
    found = [_slopes(graph, each, x, deep + 1) for each in read]
    operands = [each for each in found if each is not None]
    if len(operands) < len(found):
        return None
    below, above = operands[0]
    if node.op == "Relu":
        return np.minimum(below, 0), np.maximum(above, 0)
    if node.op == "LeakyRelu":
        factor = float(nd.attribute(node, "alpha"))
        return np.where(below < 0, below, factor * below), np.where(above > 0, above, factor * above)
    if node.op == "Abs":
        return -np.abs(below), np.abs(above)
    if node.op == "Neg":
        return -below, -above
    if node.op == "Identity":
        return below, above
    other_below, other_above = operands[1]
    if node.op == "Maximum":
        return np.minimum(below, other_below), np.maximum(above, other_above)
    if node.op == "Minimum":
        return np.maximum(below, other_below), np.minimum(above, other_above)
    sign = -1 if node.op == "Sub" else 1
    return below + sign * other_below, above + sign * other_above


def _multiplied(graph: Graph, node: NodeDef, x: str, deep: int) -> _Slopes | None:
    """The slopes of a product with a constant, or a quotient by one."""
    first, second = nd.data_inputs(node)
    for tensor, factors in ((first, second), (second, first))[: 1 if node.op == "RealDiv" else 2]:
        value, found = graph.constant(factors), _slopes(graph, tensor, x, deep + 1)
        if value is None or found is None:
            continue
        factor = value.astype(np.float64)
        if node.op == "Mul":
            return found[0] * factor, found[1] * factor
        return None if np.any(factor == 0) else (found[0] / factor, found[1] / factor)
    return None


def _chosen(graph: Graph, read: tuple[str, ...], x: str, deep: int) -> _Slopes | None:
    """The slopes of a choice by the sign of x."""
    condition = graph.producer(read[0])
    first, second = (_slopes(graph, each, x, deep + 1) for each in read[1:])
    if first is None or second is None or condition.op not in ABOVE | BELOW:
        return None
    one, other = nd.data_inputs(condition)
    is_first_above = condition.op in ABOVE
    if other == x:
        one, other, is_first_above = other, one, not is_first_above
    if one != x or not _is_zero(graph, other):
        return None
    return (second[0], first[1]) if is_first_above else (first[0], second[1])


def _is_zero(graph: Graph, tensor: str) -> bool:
    value = graph.constant(tensor)
    return graph.producer(tensor).op == "ZerosLike" if value is None else not np.any(value)


_KNOWN = ENDS | {"Relu", "LeakyRelu", "Abs", "Neg", "Identity", "Mul", "RealDiv"}

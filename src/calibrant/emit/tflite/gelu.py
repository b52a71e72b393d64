"""GELU as the converter knows it: x / 2 times 1 + erf(x / √2), or times erfc(-x / √2); it knows no erf by itself."""

from __future__ import annotations

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.tf_core import NodeDef


def halve_in_front_of_gelu(edit: Edit) -> None:
    """Write x · (g / 2), as BERT does, and (x · g) / 2 as (x / 2) · g, where g is 1 + erf(x / √2) or erfc(-x / √2)."""
    graph = edit.graph
    for node in graph.nodes.values():
        if node.op not in ("Mul", "RealDiv"):
            continue
        for x, share, half in _products(graph, node):
            kind = node.attr["T"]
            factor = edit.add_constant(f"{node.name}/0.5", np.array(0.5, half.dtype))
            halved = edit.add("Mul", f"{node.name}/half", [x, factor], T=kind)
            controls = (f"^{name}" for name in nd.control_inputs(node))
            edit.put(nd.make_node("Mul", node.name, [halved, share, *controls], T=kind))
            break


def _products(graph: Graph, node: NodeDef) -> list[tuple[str, str, np.ndarray]]:
    """x, g and a half, if a node is their product in one of the other orders."""
    found = []
    for one, other in _operands(node):
        half = _half(graph, node, other)
        if half is not None and graph.producer(one).op == "Mul":
            found += [(x, share, half) for x, share in _operands(graph.producer(one)) if _is_share(graph, share, x)]
        inner = graph.producer(other)
        if node.op == "Mul" and inner.op in ("Mul", "RealDiv"):
            halves = ((share, _half(graph, inner, factor)) for share, factor in _operands(inner))
            found += [(one, share, half) for share, half in halves if half is not None and _is_share(graph, share, one)]
    return found


def _operands(node: NodeDef) -> tuple[tuple[str, str], ...]:
    """Both operands of a product in either order; of a quotient in the one that it has."""
    first, second = nd.data_inputs(node)
    return ((first, second),) if node.op == "RealDiv" else ((first, second), (second, first))


def _half(graph: Graph, node: NodeDef, tensor: str) -> np.ndarray | None:
    """The constant operand with which a node halves the other one."""
    value = graph.constant(tensor)
    wanted = 2 if node.op == "RealDiv" else 0.5
    return value if value is not None and value.size == 1 and value.reshape(()) == wanted else None


def _is_share(graph: Graph, tensor: str, x: str) -> bool:
    """Whether a tensor is 1 + erf(x / √2) or erfc(-x / √2), up to what x is multiplied by."""
    node = graph.producer(tensor)
    if graph.constant(x) is not None:
        return False
    if node.op in ("Add", "AddV2"):
        ones = [other for other, one in _operands(node) if _is_one(graph, one) and graph.producer(other).op == "Erf"]
        node = graph.producer(ones[0]) if ones else node
    if node.op not in ("Erf", "Erfc"):
        return False
    scaled = graph.producer(nd.data_inputs(node)[0])
    read = {tensor for operand in nd.data_inputs(scaled) for tensor in (operand, *_negated(graph, operand))}
    return scaled.op in ("Mul", "RealDiv") and x in read


def _negated(graph: Graph, tensor: str) -> tuple[str, ...]:
    maker = graph.producer(tensor)
    return nd.data_inputs(maker) if maker.op == "Neg" else ()


def _is_one(graph: Graph, tensor: str) -> bool:
    value = graph.constant(tensor)
    return value is not None and bool(np.all(value == 1))


def is_in_gelu(graph: Graph, node: NodeDef) -> bool:
    """Whether an Erf or Erfc is nowhere but in what the converter makes a GELU of."""
    shares = [node]
    if node.op == "Erf":
        shares = [reader for reader, _ in graph.consumers(f"{node.name}:0")]
        if not all(
            share.op in ("Add", "AddV2") and any(_is_one(graph, tensor) for tensor in nd.data_inputs(share))
            for share in shares
        ):
            return False
    tensors = [f"{share.name}:0" for share in shares]
    readers = [(reader, tensor) for tensor in tensors for reader, _ in graph.consumers(tensor)]
    return (
        bool(readers)
        and not set(tensors) & set(graph.outputs)
        and all(
            reader.op == "Mul" and any(_is_scaled(graph, other) for other in nd.data_inputs(reader) if other != tensor)
            for reader, tensor in readers
        )
    )


def _is_scaled(graph: Graph, tensor: str) -> bool:
    """Whether a tensor is another one times a constant."""
    maker = graph.producer(tensor)
    return maker.op == "Mul" and any(graph.constant(operand) is not None for operand in nd.data_inputs(maker))


def factors_behind_gelu(edit: Edit, node: NodeDef) -> None:
    """Take factors of channels, with which a layer is balanced, out of a GELU and put them behind it.

    The converter knows x / 2 times 1 + erf(x / √2), or times erfc(-x / √2), with a half that is one number.
    """
    graph = edit.graph
    for halved, rest in (nd.data_inputs(node), reversed(nd.data_inputs(node))):
        inner, outer = graph.producer(halved), graph.producer(rest)
        is_gelu = outer.op == "Erfc" or any(graph.producer(each).op == "Erf" for each in nd.data_inputs(outer))
        if inner.op != "Mul" or not is_gelu:
            continue
        for factors, x in (nd.data_inputs(inner), reversed(nd.data_inputs(inner))):
            value = graph.constant(factors)
            if value is None or value.size == 1:
                continue
            kind, half = node.attr["T"], np.array(0.5, value.dtype)
            product = edit.add("Mul", f"{node.name}/half", [x, edit.add_constant(f"{node.name}/0.5", half)], T=kind)
            found = edit.add("Mul", f"{node.name}/gelu", [product, rest], T=kind)
            behind = edit.add_constant(f"{node.name}/factors", value / half)
            controls = (f"^{name}" for name in nd.control_inputs(node))
            edit.put(nd.make_node("Mul", node.name, [found, behind, *controls], T=kind))
            return

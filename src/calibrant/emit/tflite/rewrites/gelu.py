"""GELU as the converter knows it: x / 2 times 1 + erf(x / √2), or times erfc(-x / √2); it knows no erf by itself."""

from __future__ import annotations

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.tf_core import NodeDef

ERROR_FUNCTIONS = frozenset({"Erf", "Erfc"})


def halve_in_front_of_gelu(edit: Edit) -> None:
    """Write x · (g / 2), as BERT does, and (x · g) / 2 as (x / 2) · g, where g is 1 + erf(x / √2) or erfc(-x / √2)."""
    graph = edit.graph
    for node in graph.nodes.values():
        if node.op not in ("Mul", "RealDiv"):
            continue
        found = _halved_product(graph, node)
        if found is not None:
            x, share = found
            halved = _half(edit, node, x)
            edit.put(nd.make_node("Mul", node.name, [halved, share, *nd.control_references(node)], T=node.attr["T"]))


def _half(edit: Edit, node: NodeDef, x: str) -> str:
    """x / 2, for the product that a node is."""
    kind = nd.attribute(node, "T")
    factor = edit.add_constant(f"{node.name}/0.5", np.array(0.5, kind.as_numpy_dtype))
    return edit.add("Mul", f"{node.name}/half", [x, factor], T=kind)


def _halved_product(graph: Graph, node: NodeDef) -> tuple[str, str] | None:
    """x and g, if a node is half of their product in one of the other orders."""
    for one, other in _operands(node):
        product, halved = graph.producer(one), graph.producer(other)
        if product.op == "Mul" and _halves(graph, node, other):
            for x, share in _operands(product):
                if _is_share(graph, share, x):
                    return x, share
        if node.op == "Mul" and halved.op in ("Mul", "RealDiv"):
            for share, factor in _operands(halved):
                if _halves(graph, halved, factor) and _is_share(graph, share, one):
                    return one, share
    return None


def _operands(node: NodeDef) -> tuple[tuple[str, str], ...]:
    """Both operands of a product in either order; of a quotient in the one that it has."""
    first, second = nd.data_inputs(node)
    return ((first, second),) if node.op == "RealDiv" else ((first, second), (second, first))


def _halves(graph: Graph, node: NodeDef, tensor: str) -> bool:
    """Whether a node halves its other operand with this one."""
    value = graph.constant(tensor)
    return value is not None and value.size == 1 and bool(value.reshape(()) == (2 if node.op == "RealDiv" else 0.5))


def _is_share(graph: Graph, tensor: str, x: str) -> bool:
    """Whether a tensor is 1 + erf(x / √2) or erfc(-x / √2), up to what x is multiplied by."""
    node = graph.producer(tensor)
    if graph.constant(x) is not None:
        return False
    if node.op in ("Add", "AddV2"):
        ones = [other for other, one in _operands(node) if _is_one(graph, one) and graph.producer(other).op == "Erf"]
        node = graph.producer(ones[0]) if ones else node
    if node.op not in ERROR_FUNCTIONS:
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
    for halved, rest in _operands(node):
        inner, outer = graph.producer(halved), graph.producer(rest)
        is_gelu = outer.op == "Erfc" or any(graph.producer(each).op == "Erf" for each in nd.data_inputs(outer))
        if inner.op != "Mul" or not is_gelu:
            continue
        for factors, x in _operands(inner):
            value = graph.constant(factors)
            if value is None or value.size == 1:
                continue
            kind = node.attr["T"]
            found = edit.add("Mul", f"{node.name}/gelu", [_half(edit, node, x), rest], T=kind)
            behind = edit.add_constant(f"{node.name}/factors", value / np.array(0.5, value.dtype))
            edit.put(nd.make_node("Mul", node.name, [found, behind, *nd.control_references(node)], T=kind))
            return

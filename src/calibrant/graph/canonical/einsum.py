"""Einsum of two tensors as a MatMul or BatchMatMul, where it is one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from calibrant.graph import nodes as nd
from calibrant.graph.canonical.operands import Factor, ProductEdit, type_of
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef

Labels = tuple[str, ...]
FIRST_UNNAMED = "\ue000"  # of the letters for private use, in place of the axes that an ellipsis stands for


@dataclass(frozen=True)
class Product:
    """The roles of the labels of an equation.

    Parameters
    ----------
    batch : Labels
        In both operands and the result.
    rows, columns : Labels
        Of the first and of the second operand alone, kept in the result.
    summed : Labels
        In both operands, not in the result.
    result : Labels
        In its order.
    """

    batch: Labels
    rows: Labels
    columns: Labels
    summed: Labels
    result: Labels


def read_equation(graph: Graph, node: NodeDef) -> tuple[Labels, Labels, Labels] | str:
    """The labels of both operands and of the result, one a dimension; or the reason why they are not to be had."""
    terms = read_terms(graph, node)
    if isinstance(terms, str):
        return terms
    operands, result = terms
    if len(operands) != 2:
        return f"{nd.attribute(node, 'equation')!r} is not a product of two tensors"
    return operands[0], operands[1], result


def read_terms(graph: Graph, node: NodeDef) -> tuple[list[Labels], Labels] | str:
    """The labels of every operand and of the result, one a dimension; or the reason why they are not to be had."""
    equation = nd.attribute(node, "equation") or ""
    if "->" not in equation:
        return f"{equation!r} does not name its result"
    written, result = equation.replace(" ", "").split("->")
    terms = written.split(",")
    known = (graph.shape(tensor) for tensor in nd.data_inputs(node))
    shapes = [shape for shape in known if shape is not None]
    if len(shapes) < len(terms):
        return "the number of axes of its operands is not known"
    dots = [len(shape) - len(term.replace("...", "")) for term, shape in zip(terms, shapes, strict=True)]
    operands = [tuple(term.replace("...", _unnamed(more))) for term, more in zip(terms, dots, strict=True)]
    return operands, tuple(result.replace("...", _unnamed(max(dots))))


def _unnamed(count: int) -> str:
    """Labels for the axes that an ellipsis stands for, the last axis first to be named."""
    return "".join(chr(ord(FIRST_UNNAMED) + index) for index in reversed(range(count)))


def roles(first: Labels, second: Labels, result: Labels) -> Product | str:
    """What each label does; or the reason why this is no product of matrices."""
    if any(len(set(labels)) != len(labels) for labels in (first, second, result)):
        return "an index occurs twice in one tensor"
    alone = set(first) ^ set(second)
    if alone - set(result):
        return "an index of one operand alone is summed"
    summed = tuple(label for label in first if label in second and label not in result)
    if not summed:
        return "nothing is summed: it multiplies element by element"
    return Product(
        batch=tuple(label for label in result if label in first and label in second),
        rows=tuple(label for label in first if label not in second),
        columns=tuple(label for label in second if label not in first),
        summed=summed,
        result=result,
    )


def why_not(graph: Graph, node: NodeDef) -> str:
    """Why an Einsum is still one."""
    labels = read_equation(graph, node)
    mapping = labels if isinstance(labels, str) else roles(*labels)
    return mapping if isinstance(mapping, str) else "the sizes of its batch axes differ"


def rewrite_einsum(edit: ProductEdit, node: NodeDef) -> None:
    """Put a product of matrices in the place of an Einsum; leave it where it is none."""
    graph = edit.graph
    labels = read_equation(graph, node)
    if isinstance(labels, str):
        return
    first, second, result = labels
    tensors = nd.data_inputs(node)
    constants = [graph.constant(tensor) is not None for tensor in tensors]
    if all(constants):
        return
    if constants[0] or (not constants[1] and _is_column_first(first, second, result)):
        tensors, first, second = tensors[::-1], second, first
    product = roles(first, second, result)
    if isinstance(product, str) or _broadcasts(graph, tensors, first, second, product.batch):
        return
    _write(edit, node, tensors, first, second, product, constant=any(constants))


def _is_column_first(first: Labels, second: Labels, result: Labels) -> bool:
    """Whether the result has an axis of the second operand before those of the first."""
    own = [label for label in result if (label in first) != (label in second)]
    return bool(own) and own[0] in second


def _broadcasts(graph: Graph, tensors: Sequence[str], first: Labels, second: Labels, batch: Labels) -> bool:
    sizes = [
        dict(zip(labels, graph.shape(tensor) or (), strict=True))
        for labels, tensor in zip((first, second), tensors, strict=True)
    ]
    return any(1 in (one := {sizes[0][label], sizes[1][label]}) and len(one) > 1 for label in batch)


def _write(
    edit: ProductEdit,
    node: NodeDef,
    tensors: Sequence[str],
    first: Labels,
    second: Labels,
    product: Product,
    constant: bool,
) -> None:
    """Operands as [batch…, rows, summed] and [batch…, summed, columns], their product, and what the result has to be.

    A constant of two axes multiplies the summed axis whatever axes precede it, so that rows stay separate.
    """
    name, sizes = node.name, _sizes(edit.graph, tensors, (first, second))
    weights = constant and not product.batch
    batch: list[Labels] = [(label,) for label in product.batch]
    rows: list[Labels] = [(label,) for label in product.rows] if weights and product.rows else [product.rows]
    adjoint = not constant and second == (*product.batch, *product.columns, *product.summed)
    columns = [product.columns, product.summed] if adjoint else [product.summed, product.columns]

    def arranged(tensor: str, labels: Labels, axes: list[Labels], where: str) -> str:
        order = [labels.index(label) for axis in axes for label in axis]
        if edit.graph.constant(tensor) is not None:
            return edit.constant(tensor, order, [_product(sizes[label] for label in axis) for axis in axes], name)
        moved = edit.transpose(tensor, order, f"{name}/{where}_transposed")
        if all(len(axis) == 1 for axis in axes):
            return moved
        return edit.reshape(moved, [[sizes[label] for label in axis] for axis in axes], f"{name}/{where}_reshaped")

    edit.begin(node)
    left = arranged(tensors[0], first, [*batch, *rows, product.summed], "x")
    right = arranged(tensors[1], second, [*batch, *columns], "y")
    if weights and len(rows) == 1:
        result = edit.product(node, "MatMul", [left, right], T=type_of(node))
    else:
        result = edit.product(node, "BatchMatMulV2", [left, right], T=type_of(node), adj_y=adjoint)
    made = [*product.batch, *product.rows, *product.columns]
    whole = len(product.columns) == 1 and (len(rows) > 1 or len(product.rows) == 1)
    if not whole:
        result = edit.reshape(result, [[sizes[label]] for label in made], f"{name}/result")
    if made != list(product.result):
        order = [made.index(label) for label in product.result]
        result = edit.transpose(result, order, f"{name}/result" if whole else f"{name}/result_transposed")
    edit.result(node, result)


def _sizes(graph: Graph, tensors: Sequence[str], operands: Sequence[Labels]) -> dict[str, Factor]:
    """Label → its size."""
    sizes: dict[str, Factor] = {}
    for tensor, labels in zip(tensors, operands, strict=True):
        for axis, (label, size) in enumerate(zip(labels, graph.shape(tensor) or (), strict=True)):
            if size is not None:
                sizes[label] = size
            else:
                sizes.setdefault(label, (tensor, axis))
    return sizes


def _product(sizes: Iterable[Factor]) -> int:
    return math.prod(size for size in sizes if isinstance(size, int))

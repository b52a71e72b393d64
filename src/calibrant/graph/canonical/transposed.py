"""MatMul and BatchMatMul whose constant is transposed, or stands in front of the activation."""

from __future__ import annotations

from calibrant.graph import nodes as nd
from calibrant.graph.canonical.operands import ProductEdit
from calibrant.graph.tf_core import NodeDef


def rewrite_product(edit: ProductEdit, node: NodeDef) -> None:
    """Write a transposed constant down transposed; let a constant that stands first stand second.

    x · Wᵀ reads the constant Wᵀ. W · x, of two axes, is (xᵀ · Wᵀ)ᵀ.
    """
    tensors = nd.data_inputs(node)
    constants = [edit.graph.constant(tensor) for tensor in tensors]
    flags = [bool(nd.attribute(node, names[0]) or nd.attribute(node, names[1])) for names in FLAGS]
    if (constants[0] is None) == (constants[1] is None):
        return
    edit.begin(node)
    if constants[0] is None and flags[1]:
        weights = edit.constant(tensors[1], *_swapped(constants[1].shape), node.name)
        edit.product(node, node.op, [tensors[0], weights], **_attributes(node, flags[0], False))
    elif constants[0] is not None and node.op == "MatMul":
        data = tensors[1] if flags[1] else edit.transpose(tensors[1], [1, 0], f"{node.name}/x_transposed")
        weights = tensors[0] if flags[0] else edit.constant(tensors[0], *_swapped(constants[0].shape), node.name)
        result = edit.product(node, "MatMul", [data, weights], T=nd.attribute(node, "T"))
        edit.result(node, edit.transpose(result, [1, 0], f"{node.name}/result"))
    elif constants[0] is not None and flags[0]:
        weights = edit.constant(tensors[0], *_swapped(constants[0].shape), node.name)
        edit.product(node, node.op, [weights, tensors[1]], **_attributes(node, False, flags[1]))


FLAGS = (("transpose_a", "adj_x"), ("transpose_b", "adj_y"))


def _swapped(shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The order of axes in which the last two are exchanged, and the shape that this gives."""
    order = (*range(len(shape) - 2), len(shape) - 1, len(shape) - 2)
    return order, tuple(shape[axis] for axis in order)


def _attributes(node: NodeDef, first: bool, second: bool) -> dict[str, object]:
    """The attributes of a node, with other flags."""
    names = ("transpose_a", "transpose_b") if node.op == "MatMul" else ("adj_x", "adj_y")
    kept = {key: value for key, value in node.attr.items() if key not in names}
    return {**kept, **dict(zip(names, (first, second), strict=True))}

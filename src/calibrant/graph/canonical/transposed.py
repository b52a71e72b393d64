"""MatMul and BatchMatMul whose constant is transposed, or is the first operand."""

from __future__ import annotations

from calibrant.graph import nodes as nd
from calibrant.graph.canonical.operands import ProductEdit
from calibrant.graph.tf_core import NodeDef


def rewrite_product(edit: ProductEdit, node: NodeDef) -> None:
    """Transpose a transposed constant itself; move a constant first operand to the second place.

    x · Wᵀ reads the constant Wᵀ. W · x, of two axes, is (xᵀ · Wᵀ)ᵀ.
    """
    tensors = nd.data_inputs(node)
    first, second = (edit.graph.constant(tensor) for tensor in tensors)
    flags = [bool(nd.attribute(node, names[0]) or nd.attribute(node, names[1])) for names in FLAGS]
    if (first is None) == (second is None):
        return
    edit.begin(node)
    if second is not None and flags[1]:
        weights = edit.constant(tensors[1], *_swapped(second.shape), node.name)
        edit.product(node, node.op, [tensors[0], weights], **_attributes(node, flags[0], False))
    elif first is not None and node.op == "MatMul":
        data = tensors[1] if flags[1] else edit.transpose(tensors[1], [1, 0], f"{node.name}/x_transposed")
        weights = tensors[0] if flags[0] else edit.constant(tensors[0], *_swapped(first.shape), node.name)
        result = edit.product(node, "MatMul", [data, weights], T=nd.attribute(node, "T"))
        edit.result(node, edit.transpose(result, [1, 0], f"{node.name}/result"))
    elif first is not None and flags[0]:
        weights = edit.constant(tensors[0], *_swapped(first.shape), node.name)
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

"""Products of two activations with two axes, as products of batches of one.

The converter makes a dense layer of them, whose kernel has integers for constant weights alone; an activation behind
them it loses.
"""

from __future__ import annotations

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.tf_core import NodeDef, dtypes

FLAT_PRODUCTS = ("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")
"""Products that may have two axes; an Einsum of a tensor that has no batch becomes one of the others."""


def multiply_as_batch(edit: Edit, node: NodeDef) -> None:
    """Give both operands an axis of size 1 in front, where neither is constant; products in loops are float anyway."""
    read = nd.data_inputs(node)
    if node.op != "MatMul" and any(len(edit.graph.shape(tensor) or ()) != 2 for tensor in read):
        return
    if node.name in edit.graph.regions or edit.graph.dtype(f"{node.name}:0") != dtypes.float32:
        return
    if any(edit.graph.constant(tensor) is not None for tensor in read):
        return
    axis = edit.add_constant(f"{node.name}/axis", np.int32(0))
    kinds = {"T": node.attr["T"], "Tdim": dtypes.int32}
    batches = [edit.add("ExpandDims", f"{node.name}/batch", [tensor, axis], **kinds) for tensor in read]
    names = {"adj_x": "transpose_a", "adj_y": "transpose_b"} if node.op == "MatMul" else {}
    flags = {flag: bool(nd.attribute(node, names.get(flag, flag))) for flag in ("adj_x", "adj_y")}
    product = edit.add("BatchMatMulV2", f"{node.name}/product", batches, T=node.attr["T"], **flags)
    controls = nd.control_references(node)
    edit.put(nd.make_node("Squeeze", node.name, [product, *controls], T=node.attr["T"], squeeze_dims=[0]))


def products_of_batches(converted: Graph, model: Graph) -> dict[str, str]:
    """Tensor of the model → the product of a batch of one that has its numbers."""
    return {
        f"{name}:0": nd.data_inputs(node)[0]
        for name, node in converted.nodes.items()
        if node.op == "Squeeze" and name in model.nodes and model.nodes[name].op in FLAT_PRODUCTS
    }

"""The arrays of TensorFlow 1.x's loops as lists, which the converter takes.

A list is handed on by what was the array's flow, so everything between the operations on one array becomes a list, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit
from calibrant.graph.tf_core import NodeDef, dtypes

HANDED_ON = frozenset({"Enter", "RefEnter", "Merge", "Switch", "Identity", "NextIteration", "Exit"})
FLOW = {"TensorArrayWriteV3": 3, "TensorArrayScatterV3": 3, "TensorArrayReadV3": 2, "TensorArrayGatherV3": 2}
FLOW |= {"TensorArraySizeV3": 1}
"""Which input is the flow; the one that is stored is in front of it."""
STORES = frozenset({"TensorArrayWriteV3", "TensorArrayScatterV3"})
"""Their result is the flow."""


def arrays_as_lists(edit: Edit, batch: int | None) -> bool:
    """Rewrite every array of which the shape of an element is known; whether there was one.

    The shape of what comes out of a list is known then, so that other arrays may follow. ``batch`` is the number of
    samples, where it is fixed.
    """
    rewritten = [_array_as_list(edit, node, batch) for node in edit.graph.nodes.values() if node.op == "TensorArrayV3"]
    return any(rewritten)


def _array_as_list(edit: Edit, array: NodeDef, batch: int | None) -> bool:
    graph = edit.graph
    flow = [f"{array.name}:1"]
    users: list[NodeDef] = []
    handed_on: dict[str, NodeDef] = {}
    for tensor in flow:
        for node, index in graph.consumers(tensor):
            if node.op in HANDED_ON and node.name not in handed_on:
                handed_on[node.name] = node
                flow += [f"{node.name}:0", f"{node.name}:1"]
            elif FLOW.get(node.op) == index and node not in users:
                users.append(node)
                if node.op in STORES:
                    flow.append(f"{node.name}:0")
            elif node.op.startswith("TensorArray") and node.op not in FLOW:
                return False  # as TensorArrayConcatV3
    if nd.attribute(array, "dynamic_size", False):
        return False
    shape = _element(edit, array, users, batch)
    if shape is None:
        return False
    whole = edit.add_constant(f"{array.name}/element", np.array(shape, np.int32))
    size = nd.data_inputs(array)[0]
    made = {"element_dtype": array.attr["dtype"], "shape_type": dtypes.int32}
    edit.put(nd.make_node("TensorListReserve", array.name, [whole, size], **made))
    for node in users:
        _on_list(edit, node, array, whole, np.array(shape, np.int32))
    for node in handed_on.values():
        changed = nd.copy_node(node, [_listed(tensor, array) for tensor in node.input])
        changed.attr["T"].type = dtypes.variant.as_datatype_enum
        edit.put(changed)
    return True


def _listed(tensor: str, array: NodeDef) -> str:
    """Where the list is that an array's flow was."""
    return f"{array.name}:0" if tensor == f"{array.name}:1" else tensor


def _element(edit: Edit, array: NodeDef, users: list[NodeDef], batch: int | None) -> nd.OpenShape | None:
    """The shape of what is stored, with sizes that are all known.

    Where an element begins with an open size, that is the number of samples, as in the loops that TensorFlow 1.x makes
    over sequences; an interpreter refuses what does not have it.
    """
    found = _said(array)
    for node in users if found is None or None in found else ():
        if node.op in STORES:
            shape = edit.graph.shape(nd.data_inputs(node)[2])
            if shape is not None and node.op == "TensorArrayScatterV3":
                shape = shape[1:]
            if shape is not None:
                found = shape if found is None else _merged(found, shape)
    if found and found[0] is None:
        found = (batch, *found[1:])
    return None if found is None or None in found else found


def _said(array: NodeDef) -> nd.OpenShape | None:
    if "element_shape" not in array.attr:  # reading would add it
        return None
    said = array.attr["element_shape"].shape
    return None if said.unknown_rank or not said.dim else tuple(dim.size if dim.size >= 0 else None for dim in said.dim)


def _merged(first: nd.OpenShape, second: nd.OpenShape) -> nd.OpenShape:
    if len(first) != len(second):
        return first
    return tuple(b if a is None else a for a, b in zip(first, second, strict=True))


def _on_list(edit: Edit, node: NodeDef, array: NodeDef, whole: str, shape: np.ndarray) -> None:
    inputs = nd.data_inputs(node)
    flow, made = _listed(inputs[FLOW[node.op]], array), {"element_dtype": array.attr["dtype"]}

    def put(op: str, *read: str, **attributes: Any) -> None:
        edit.put(nd.make_node(op, node.name, [*read, *nd.control_references(node)], **attributes))

    if node.op == "TensorArrayWriteV3":
        put("TensorListSetItem", flow, inputs[1], inputs[2], **made)
    elif node.op == "TensorArrayScatterV3":
        put("TensorListFromTensor", inputs[2], whole, shape_type=dtypes.int32, **made)
    elif node.op == "TensorArraySizeV3":
        put("TensorListLength", flow)
    elif node.op == "TensorArrayGatherV3":
        put("TensorListStack", flow, whole, num_elements=-1, **made)
    else:
        inside = nd.constant_node(edit.free_name(f"{node.name}/element"), shape)
        inside.input.append(f"^{nd.node_name(inputs[1])}")  # in the frame of the loop
        put("TensorListGetItem", flow, inputs[1], edit.put(inside), **made)

"""NodeDefs: making them, and reading the names and attributes in them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from calibrant.graph.pieces import is_in_pieces, join_pieces, put_content
from calibrant.graph.tf_core import AttrValue, NodeDef, TensorShapeProto, dtypes, tensor_util

OpenShape = tuple[int | None, ...]
"""Sizes of axes; None for a size that is not known."""
Shape = tuple[int, ...]
"""Sizes of axes, all of them known."""

PASS_THROUGH = frozenset({"Identity", "ReadVariableOp", "StopGradient", "PreventGradient", "CheckNumerics", "Snapshot"})
SUMS = frozenset({"Add", "AddV2", "Sub"})
BROADCAST_ARITHMETIC = SUMS | {"Mul", "RealDiv"}
POOLS = frozenset({"AvgPool", "MaxPool"})


def static_shape(shape: OpenShape | None) -> Shape | None:
    """The shape if its rank and all of its sizes are known."""
    sizes = tuple(size for size in shape or () if size is not None)
    return sizes if shape is not None and len(sizes) == len(shape) else None


def tensor_name(reference: str) -> str:
    """The canonical ``node:index`` of an input reference (``node``, ``node:0`` and ``node:1`` are all in use)."""
    node, separator, index = reference.rpartition(":")
    return reference if separator and index.isdigit() and node else f"{reference}:0"


def node_name(reference: str) -> str:
    """The name of the node that ``name``, ``name:0`` or ``^name`` refers to."""
    return split_tensor(reference.removeprefix("^"))[0]


def split_tensor(reference: str) -> tuple[str, int]:
    """Node name and output index of a tensor reference."""
    node, _, index = tensor_name(reference).rpartition(":")
    return node, int(index)


def input_reference(tensor: str) -> str:
    """The form a NodeDef keeps: ``node`` for output 0, ``node:index`` otherwise."""
    node, index = split_tensor(tensor)
    return node if index == 0 else f"{node}:{index}"


def data_inputs(node: NodeDef) -> tuple[str, ...]:
    """Canonical names of the tensors a node reads, control inputs left out."""
    return tuple(tensor_name(reference) for reference in node.input if not reference.startswith("^"))


def readers(nodes: Mapping[str, NodeDef]) -> dict[str, list[str]]:
    """Name of a node → the nodes that read a tensor of it, once for each input that does."""
    found: dict[str, list[str]] = {}
    for node in nodes.values():
        for tensor in data_inputs(node):
            found.setdefault(node_name(tensor), []).append(node.name)
    return found


def followers(nodes: Mapping[str, NodeDef]) -> dict[str, list[str]]:
    """Name of a node → the nodes that read a tensor of it or wait for it, once for each input that does."""
    found: dict[str, list[str]] = {}
    for node in nodes.values():
        for reference in node.input:
            found.setdefault(node_name(reference), []).append(node.name)
    return found


def control_inputs(node: NodeDef) -> tuple[str, ...]:
    """Names of the nodes a node waits for."""
    return tuple(reference[1:] for reference in control_references(node))


def control_references(node: NodeDef) -> tuple[str, ...]:
    """What a node waits for, as its inputs say it: ``^name``."""
    return tuple(reference for reference in node.input if reference.startswith("^"))


def attribute(node: NodeDef, key: str, default: Any = None) -> Any:
    """An attribute as a plain Python value: int, float, bool, str, NumPy dtype or a list of these.

    One that has no value, or gets it where its function is called, is as good as none.
    """
    if key not in node.attr:
        return default
    value = node.attr[key]
    kind = value.WhichOneof("value")
    if kind in {None, "placeholder"}:
        return default
    if kind == "list":
        items = value.list
        if items.s:
            return [item.decode(errors="replace") for item in items.s]
        return list(items.i) or list(items.f) or list(items.b) or [dtypes.as_dtype(t) for t in items.type]
    if kind == "s":
        return value.s.decode(errors="replace")
    if kind == "type":
        return dtypes.as_dtype(value.type)
    if kind in {"i", "f", "b"}:
        return getattr(value, kind)
    return value


def elements(shape: TensorShapeProto) -> int:
    """How many elements a tensor of this shape has, which must be known."""
    return math.prod(dimension.size for dimension in shape.dim)


def placeholder_node(name: str, shape: OpenShape | None, dtype: Any) -> NodeDef:
    """A Placeholder; of a shape that is None, the number of axes is not known."""
    node = make_node("Placeholder", name, [], dtype=dtype)
    set_shape(node, shape)
    return node


def set_shape(placeholder: NodeDef, shape: OpenShape | None) -> None:
    """Write the shape that a placeholder says of itself."""
    proto = placeholder.attr["shape"].shape
    proto.Clear()
    proto.SetInParent()
    if shape is None:
        proto.unknown_rank = True
    for size in shape or ():
        proto.dim.add().size = -1 if size is None else size


def constant_node(name: str, value: np.ndarray) -> NodeDef:
    """A Const node holding an array."""
    node = NodeDef()
    fill_constant(node, name, value)
    return node


def fill_constant(node: NodeDef, name: str, value: np.ndarray) -> None:
    """Make an empty node a Const holding an array, in pieces where it is large (:mod:`calibrant.graph.pieces`)."""
    array = np.asarray(value)
    node.op, node.name = "Const", name
    tensor = node.attr["value"].tensor
    if array.size > 1 and array.dtype.kind in "iuf" and array.dtype.isnative:
        tensor.dtype = dtypes.as_dtype(array.dtype).as_datatype_enum
        for size in array.shape:
            tensor.tensor_shape.dim.add().size = size
        put_content(tensor, np.ascontiguousarray(array).data.cast("B"))
    else:
        tensor.CopyFrom(tensor_util.make_tensor_proto(np.ascontiguousarray(array), shape=array.shape))
    node.attr["dtype"].type = tensor.dtype


def constant_value(node: NodeDef) -> np.ndarray:
    """The array of a Const node; read-only where no copy is needed."""
    tensor = node.attr["value"].tensor
    if is_in_pieces(tensor):
        return join_pieces(tensor)
    content = tensor.tensor_content
    if not content:
        return tensor_util.MakeNdarray(tensor)
    shape = [dimension.size for dimension in tensor.tensor_shape.dim]
    return np.frombuffer(content, dtypes.as_dtype(tensor.dtype).as_numpy_dtype).reshape(shape)


def make_node(op: str, name: str, inputs: Iterable[str], **attributes: Any) -> NodeDef:
    """A NodeDef from plain values: dtypes, ints, floats, bools, strings, lists of them, or ready AttrValues."""
    node = NodeDef(op=op, name=name)
    node.input.extend(reference if reference.startswith("^") else input_reference(reference) for reference in inputs)
    for key, value in attributes.items():
        set_attribute(node, key, value)
    return node


def copy_node(node: NodeDef, inputs: Iterable[str] | None = None, name: str | None = None) -> NodeDef:
    """A copy that may be changed, with other inputs or another name where given."""
    result = NodeDef()
    result.CopyFrom(node)
    if name is not None:
        result.name = name
    if inputs is not None:
        del result.input[:]
        result.input.extend(r if r.startswith("^") else input_reference(r) for r in inputs)
    return result


def set_attribute(node: NodeDef, key: str, value: Any) -> None:
    """Set one attribute of a node from a plain value."""
    slot = node.attr[key]
    if isinstance(value, AttrValue):
        slot.CopyFrom(value)
    elif isinstance(value, bool):
        slot.b = value
    elif isinstance(value, (int, np.integer)):
        slot.i = int(value)
    elif isinstance(value, float):
        slot.f = value
    elif isinstance(value, str):
        slot.s = value.encode()
    elif isinstance(value, dtypes.DType):
        slot.type = value.as_datatype_enum
    elif isinstance(value, (list, tuple)):
        slot.list.SetInParent()
        for item in value:
            if isinstance(item, (int, np.integer)) and not isinstance(item, bool):
                slot.list.i.append(int(item))
            elif isinstance(item, float):
                slot.list.f.append(item)
            else:
                slot.list.s.append(str(item).encode())
    else:
        raise TypeError(f"attribute {key!r} of {node.name!r}: {type(value).__name__} is not an attribute value")

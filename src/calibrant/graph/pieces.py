"""Large constants kept in pieces, and graph files read and written piece by piece.

Reading the bytes of a protobuf field copies all of them. Of a constant that is half of a model, each such copy is half
of the model, so a large one has its content in pieces instead: in ``string_val``, which numbers do not use otherwise.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from calibrant.graph.reading.wire import fields, sole, tag, varint
from calibrant.graph.tf_core import AttrValue, GraphDef, NodeDef, dtypes

PIECE = 1 << 26  # bytes
LARGE_NODE_BYTES = 1 << 12  # of a node whose content is worth measuring
ALIGNMENT = 64  # bytes; TensorFlow uses memory that is aligned so as it is, and copies other

_CONTENT = (
    NodeDef.ATTR_FIELD_NUMBER,
    2,  # the value of an entry of a map
    AttrValue.TENSOR_FIELD_NUMBER,
    AttrValue().tensor.TENSOR_CONTENT_FIELD_NUMBER,
)
_VALUES = tuple(field for field in AttrValue().tensor.DESCRIPTOR.fields_by_name if field.endswith("_val"))


def put_content(tensor: Any, content: bytes | memoryview) -> None:
    """Give a TensorProto of numbers its bytes, in pieces where there are many."""
    if len(content) <= PIECE:
        tensor.tensor_content = bytes(content)
        return
    for start in range(0, len(content), PIECE):
        tensor.string_val.append(bytes(content[start : start + PIECE]))


def is_in_pieces(tensor: Any) -> bool:
    """Whether a TensorProto has its content in pieces."""
    return len(tensor.string_val) > 0 and tensor.dtype != dtypes.string.as_datatype_enum


def stored_bytes(tensor: Any) -> int:
    """About how many bytes a TensorProto takes, found without a copy of them."""
    if is_in_pieces(tensor) or not any(len(getattr(tensor, field)) for field in _VALUES):
        return math.prod(_shape(tensor)) * _dtype(tensor).itemsize
    return int(tensor.ByteSize())


def join_pieces(tensor: Any) -> np.ndarray:
    """The value of a TensorProto that has its content in pieces, read-only."""
    size = stored_bytes(tensor)
    room = np.empty(size + ALIGNMENT, np.uint8)
    flat, end = room[-room.ctypes.data % ALIGNMENT :][:size], 0
    for piece in tensor.string_val:
        flat[end : end + len(piece)] = np.frombuffer(piece, np.uint8)
        end += len(piece)
    result = flat.view(_dtype(tensor)).reshape(_shape(tensor))
    result.flags.writeable = False
    return result


def _shape(tensor: Any) -> tuple[int, ...]:
    return tuple(axis.size for axis in tensor.tensor_shape.dim)


def _dtype(tensor: Any) -> np.dtype[Any]:
    return np.dtype(dtypes.as_dtype(tensor.dtype).as_numpy_dtype)


def whole(node: NodeDef) -> NodeDef:
    """The node as TensorFlow knows it, with its content in one piece."""
    if not _has_pieces(node):
        return node
    result = without_content(node)
    result.attr["value"].tensor.tensor_content = b"".join(node.attr["value"].tensor.string_val)
    return result


def node_chunks(node: NodeDef) -> Iterator[bytes]:
    """A node as it stands in the file of a GraphDef, always the same for the same node, in pieces."""
    if not _has_pieces(node):
        content = node.SerializeToString(deterministic=True)
        yield tag(GraphDef.NODE_FIELD_NUMBER) + varint(len(content))
        yield content
        return
    light = without_content(node)
    tensor = light.attr["value"].tensor.SerializeToString(deterministic=True)
    del light.attr["value"]
    pieces = node.attr["value"].tensor.string_val
    size = stored_bytes(node.attr["value"].tensor)
    attr, entry_value, value_tensor, content_field = _CONTENT
    head = tensor + tag(content_field) + varint(size)
    head = tag(value_tensor) + varint(len(head) + size) + head
    head = tag(1) + varint(len(b"value")) + b"value" + tag(entry_value) + varint(len(head) + size) + head
    head = light.SerializeToString(deterministic=True) + tag(attr) + varint(len(head) + size) + head
    yield tag(GraphDef.NODE_FIELD_NUMBER) + varint(len(head) + size) + head
    yield from pieces


def _has_pieces(node: NodeDef) -> bool:
    return node.op == "Const" and "value" in node.attr and is_in_pieces(node.attr["value"].tensor)


def without_content(node: NodeDef) -> NodeDef:
    """A copy of a Const that has its type and shape, but no numbers: to TensorFlow they are zeros."""
    result = NodeDef(name=node.name, op=node.op, input=node.input, device=node.device)
    for key, value in node.attr.items():
        if key != "value":
            result.attr[key].CopyFrom(value)
    tensor = node.attr["value"].tensor
    light = result.attr["value"].tensor
    light.dtype, light.version_number = tensor.dtype, tensor.version_number
    light.tensor_shape.CopyFrom(tensor.tensor_shape)
    return result


def read_graph_def(path: Path) -> tuple[GraphDef, dict[str, int]]:
    """A binary GraphDef, its large constants in pieces; and the bytes that contents take, of most large constants.

    Raises
    ------
    DecodeError
        It is none.
    OSError
        The file cannot be read.
    """
    if path.stat().st_size > PIECE:
        try:
            return _read_in_pieces(path)
        except (ValueError, DecodeError):  # damaged, or of a form that only protobuf knows
            pass
    content = path.read_bytes()
    graph_def = GraphDef.FromString(content)
    try:
        view = memoryview(content)
        return graph_def, _content_sizes(view, fields(view))
    except ValueError:
        return graph_def, {}


def _read_in_pieces(path: Path) -> tuple[GraphDef, dict[str, int]]:
    graph_def = GraphDef()
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # closed with the last view of it
    view, start = memoryview(mapped), 0
    found = list(fields(view))
    sizes = _content_sizes(view, found)
    if not any(end - payload > PIECE for _, _, payload, end in found):
        return GraphDef.FromString(path.read_bytes()), sizes
    for number, begin, payload, end in found:
        is_large = number == GraphDef.NODE_FIELD_NUMBER and end - payload > PIECE
        if is_large or end - start > PIECE:
            graph_def.MergeFromString(bytes(view[start:begin]))
            start = begin
            mapped.madvise(mmap.MADV_DONTNEED)
        if is_large:
            _parse(graph_def.node.add(), view[payload:end])
            start = end
    graph_def.MergeFromString(bytes(view[start:]))
    return graph_def, sizes


def _content_sizes(view: memoryview, found: Iterable[tuple[int, int, int, int]]) -> dict[str, int]:
    """Constant → bytes of its content, of the large nodes that say each thing once."""
    sizes = {}
    for number, _, payload, end in found:
        if number == GraphDef.NODE_FIELD_NUMBER and end - payload > LARGE_NODE_BYTES:
            node = view[payload:end]
            name, content = sole(node, NodeDef.NAME_FIELD_NUMBER), _sole_content(node)
            if name is not None and content is not None and len(content) > LARGE_NODE_BYTES:
                sizes[bytes(name).decode()] = len(content)
    return sizes


def _sole_content(node: memoryview) -> memoryview | None:
    attr, entry_value, *inner = _CONTENT
    entries = [node[payload:end] for number, _, payload, end in fields(node) if number == attr]
    values = [entry for entry in entries if sole(entry, 1) in (b"value", None)]  # None: without a key, or with several
    part = values[0] if len(values) == 1 and sole(values[0], 1) is not None else None
    for number in (entry_value, *inner):
        part = None if part is None else sole(part, number)
    return part


def _parse(node: NodeDef, view: memoryview) -> None:
    light, content = _cut_out(view, _CONTENT)
    node.ParseFromString(light)
    if content is None:
        return
    if "value" not in node.attr:  # a damaged entry, which protobuf does not know as one
        node.ParseFromString(bytes(view))
        return
    tensor = node.attr["value"].tensor
    is_plain = tensor.dtype != dtypes.string.as_datatype_enum and not (tensor.string_val or tensor.tensor_content)
    if is_plain and node.op == "Const":
        put_content(tensor, content)
    else:
        node.ParseFromString(bytes(view))


def _cut_out(view: memoryview, path: tuple[int, ...]) -> tuple[bytes, memoryview | None]:
    """A message without the large field at a path, and that field."""
    kept, content = bytearray(), None
    for number, begin, payload, end in fields(view):
        if number != path[0] or end - payload <= PIECE or content is not None:
            kept += view[begin:end]
        elif len(path) == 1:
            content = view[payload:end]
        else:
            inner, content = _cut_out(view[payload:end], path[1:])
            kept += tag(number) + varint(len(inner)) + inner
    return bytes(kept), content

"""Large constants kept in pieces, and graph files read and written piece by piece.

Reading the bytes of a protobuf field copies all of them. Of a constant that is half of a model, each such copy is half
of the model, so a large one has its content in pieces instead: in ``string_val``, which numbers do not use otherwise.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from calibrant.graph.tf_core import AttrValue, GraphDef, NodeDef, dtypes

PIECE = 1 << 26  # bytes
ALIGNMENT = 64  # bytes; TensorFlow uses memory that is aligned so as it is, and copies other

_CONTENT = (
    NodeDef.ATTR_FIELD_NUMBER,
    2,  # the value of an entry of a map
    AttrValue.TENSOR_FIELD_NUMBER,
    AttrValue().tensor.TENSOR_CONTENT_FIELD_NUMBER,
)
_VALUES = tuple(field for field in AttrValue().tensor.DESCRIPTOR.fields_by_name if field.endswith("_val"))
_LENGTH = 2  # the wire type of what begins with its length
_FIXED = {1: 8, 5: 4}  # wire type → bytes


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
    result = _without_content(node)
    result.attr["value"].tensor.tensor_content = b"".join(node.attr["value"].tensor.string_val)
    return result


def node_chunks(node: NodeDef) -> Iterator[bytes]:
    """A node as it stands in the file of a GraphDef, always the same for the same node, in pieces."""
    if not _has_pieces(node):
        content = node.SerializeToString(deterministic=True)
        yield _tag(GraphDef.NODE_FIELD_NUMBER) + varint(len(content))
        yield content
        return
    light = _without_content(node)
    tensor = light.attr["value"].tensor.SerializeToString(deterministic=True)
    del light.attr["value"]
    pieces = node.attr["value"].tensor.string_val
    size = stored_bytes(node.attr["value"].tensor)
    attr, entry_value, value_tensor, content_field = _CONTENT
    head = tensor + _tag(content_field) + varint(size)
    head = _tag(value_tensor) + varint(len(head) + size) + head
    head = _tag(1) + varint(len(b"value")) + b"value" + _tag(entry_value) + varint(len(head) + size) + head
    head = light.SerializeToString(deterministic=True) + _tag(attr) + varint(len(head) + size) + head
    yield _tag(GraphDef.NODE_FIELD_NUMBER) + varint(len(head) + size) + head
    yield from pieces


def _has_pieces(node: NodeDef) -> bool:
    return node.op == "Const" and "value" in node.attr and is_in_pieces(node.attr["value"].tensor)


def _without_content(node: NodeDef) -> NodeDef:
    result = NodeDef(name=node.name, op=node.op, input=node.input, device=node.device)
    for key, value in node.attr.items():
        if key != "value":
            result.attr[key].CopyFrom(value)
    tensor = node.attr["value"].tensor
    light = result.attr["value"].tensor
    light.dtype, light.version_number = tensor.dtype, tensor.version_number
    light.tensor_shape.CopyFrom(tensor.tensor_shape)
    return result


def read_graph_def(path: Path) -> GraphDef:
    """A binary GraphDef, its large constants in pieces.

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
    return GraphDef.FromString(path.read_bytes())


def _read_in_pieces(path: Path) -> GraphDef:
    graph_def = GraphDef()
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # closed with the last view of it
    view, start = memoryview(mapped), 0
    fields = list(_fields(view))
    if not any(end - payload > PIECE for _, _, payload, end in fields):
        return GraphDef.FromString(path.read_bytes())
    for number, begin, payload, end in fields:
        is_large = number == GraphDef.NODE_FIELD_NUMBER and end - payload > PIECE
        if is_large or end - start > PIECE:
            graph_def.MergeFromString(bytes(view[start:begin]))
            start = begin
            mapped.madvise(mmap.MADV_DONTNEED)
        if is_large:
            _parse(graph_def.node.add(), view[payload:end])
            start = end
    graph_def.MergeFromString(bytes(view[start:]))
    return graph_def


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
    for number, begin, payload, end in _fields(view):
        if number != path[0] or end - payload <= PIECE or content is not None:
            kept += view[begin:end]
        elif len(path) == 1:
            content = view[payload:end]
        else:
            inner, content = _cut_out(view[payload:end], path[1:])
            kept += _tag(number) + varint(len(inner)) + inner
    return bytes(kept), content


def _fields(view: memoryview) -> Iterator[tuple[int, int, int, int]]:
    """Number, begin, begin of the content and end of each field of a message."""
    place = 0
    while place < len(view):
        begin = place
        key, place = _read_varint(view, place)
        kind = key & 7
        if kind == 0:
            _, end = _read_varint(view, place)
        elif kind == _LENGTH:
            size, place = _read_varint(view, place)
            end = place + size
        elif kind in _FIXED:
            end = place + _FIXED[kind]
        else:
            raise ValueError(f"wire type {kind}")
        if end > len(view):
            raise ValueError("cut short")
        yield key >> 3, begin, place, end
        place = end


def _read_varint(view: memoryview, place: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        if place >= len(view):
            raise ValueError("cut short")
        byte = view[place]
        place += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, place
    raise ValueError("a number of more than ten bytes")


def varint(value: int) -> bytes:
    """A number as protobuf writes it."""
    result = bytearray()
    while value > 0x7F:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*result, value))


def _tag(number: int) -> bytes:
    return varint(number << 3 | _LENGTH)

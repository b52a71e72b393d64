"""Messages of protobuf as they stand in a file: fields are found without a copy of what is in them."""

from __future__ import annotations

from collections.abc import Iterator

_LENGTH = 2  # the wire type of what begins with its length
_FIXED = {1: 8, 5: 4}  # wire type → bytes


def fields(view: memoryview) -> Iterator[tuple[int, int, int, int]]:
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


def sole(view: memoryview, wanted: int) -> memoryview | None:
    """The content of the only field of a message that has a number; None where there is none, or are several."""
    contents = [view[payload:end] for number, _, payload, end in fields(view) if number == wanted]
    return contents[0] if len(contents) == 1 else None


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


def tag(number: int) -> bytes:
    """What stands before a field that begins with its length."""
    return varint(number << 3 | _LENGTH)

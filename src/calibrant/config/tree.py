"""What was written in a configuration file: values and blocks with the places where they stand.

This is no protobuf message, because a message keeps no positions and cannot hold a field that was written twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ParsedValue:
    """A scalar and where it stands, counted from 1."""

    value: bool | int | float | str
    line: int
    column: int


@dataclass(frozen=True)
class ParsedMessage:
    """A block and what was written in it: a list per field, in the order of the file, without unreadable values."""

    type: str
    line: int
    column: int
    fields: dict[str, list[ParsedValue | ParsedMessage]] = field(default_factory=dict)

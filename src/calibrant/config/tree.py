"""The parsed values and blocks of a configuration file, with their places.

A protobuf message would not do: it keeps no positions and cannot hold a field that was written twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ParsedValue:
    """A scalar and its place, counted from 1."""

    value: bool | int | float | str
    line: int
    column: int


@dataclass(frozen=True)
class ParsedMessage:
    """A block and its fields: a list of values each, in the order of the file, without unreadable ones."""

    type: str
    line: int
    column: int
    fields: dict[str, list[ParsedValue | ParsedMessage]] = field(default_factory=dict)

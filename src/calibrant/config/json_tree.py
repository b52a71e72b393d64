"""JSON with the line and column of every value, and with repeated keys, which the standard reader drops."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from calibrant.errors import ConfigError, Problem, shortened
from calibrant.text_source import Source

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+|\n')
_DEPTH = 50
_VALUES = 500_000  # 15,000 layers have 300,000, and half a million take two seconds


@dataclass(frozen=True)
class JsonNode:
    """A value and its place. An object's value is a list of (key node, value node), an array's a list of nodes."""

    kind: str
    value: Any
    line: int
    column: int


def read_json(source: Source) -> JsonNode:
    """The tree of a JSON text.

    Raises
    ------
    ConfigError
        The text is empty, not JSON, nested more than 50 levels deep, or has more than 500,000 keys and values.
    """
    if not source.text.strip():
        raise ConfigError(Problem("the file is empty", file=source.name, allowed="JSON"))
    try:
        json.loads(source.text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        message = f"this is not JSON: {error.msg[:1].lower()}{error.msg[1:]}"
        raise ConfigError(source.problem(message, error.lineno, error.colno)) from None
    except RecursionError:
        raise _too_deep(source) from None
    except ValueError as error:
        raise ConfigError(Problem(f"this is not JSON: {shortened(str(error), 180)}", file=source.name)) from None
    return _tree(source)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def _too_deep(source: Source) -> ConfigError:
    return ConfigError(Problem(f"the file is nested more than {_DEPTH} levels deep", file=source.name))


def _tree(source: Source) -> JsonNode:
    """The tree of a valid text, in which only brackets, colons and values need be distinguished."""
    root: list[JsonNode] = []
    open_lists: list[list[Any]] = [root]
    kinds = ["array"]
    keys: list[JsonNode | None] = [None]
    line, line_start, count = 1, 0, 0
    for match in _TOKEN.finditer(source.text):
        text = match.group()
        if text == "\n":
            line, line_start = line + 1, match.end()
        elif text in "}]":
            for stack in (open_lists, kinds, keys):
                stack.pop()
        elif text not in ":,":
            column, count = match.start() - line_start + 1, count + 1
            if count > _VALUES:
                raise ConfigError(Problem(f"the file has more than {_VALUES:,} keys and values", file=source.name))
            kind = {"{": "object", "[": "array"}.get(text, "scalar")
            node = JsonNode(kind, [] if kind != "scalar" else json.loads(text), line, column)
            if kinds[-1] == "array":
                open_lists[-1].append(node)
            elif keys[-1] is None:
                keys[-1] = node
            else:
                open_lists[-1].append((keys[-1], node))
                keys[-1] = None
            if kind != "scalar":
                open_lists.append(node.value)
                kinds.append(kind)
                keys.append(None)
                if len(kinds) > _DEPTH:
                    raise _too_deep(source)
    return root[0]

"""Reads single values from a JSON tree and checks types, repeated and unknown keys."""

from __future__ import annotations

from typing import Any

from calibrant.config.json_tree import JsonNode
from calibrant.config.problems import ProblemList
from calibrant.errors import did_you_mean
from calibrant.text_source import Source

_KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "bool": (bool, "true or false"),
    "int": (int, "a whole number"),
    "float": ((int, float), "a number"),
    "string": (str, "text in quotes"),
}


class JsonValues:
    """The values of one file; problems are collected in ``problems`` and reading goes on.

    ``places`` and ``labels`` collect the place of each field of the configuration and its name in the file.
    """

    def __init__(self, source: Source):
        self.source = source
        self.problems = ProblemList()
        self.places: dict[str, tuple[int, int]] = {}
        self.labels: dict[str, str] = {}

    def report(self, node: JsonNode, label: str, message: str, **rest: str | None) -> None:
        """Add a problem at the place of a value."""
        self.problems.extend([self.source.problem(message, node.line, node.column, path=label or None, **rest)])

    def place(self, path: str, node: JsonNode, label: str) -> None:
        """Remember where the configuration's field at ``path`` was written, and what this file calls it."""
        self.places[path] = (node.line, node.column)
        self.labels[path] = label

    def object(self, node: JsonNode, label: str, known: tuple[str, ...] | None) -> dict[str, JsonNode]:
        """The values of an object by key; anything else, repeated and unknown keys are reported."""
        if node.kind != "object":
            self.report(node, label, f"{format_node(node)} is no object", allowed="{ … }")
            return {}
        values: dict[str, JsonNode] = {}
        first: dict[str, int] = {}
        for key, value in node.value:
            inner = f"{label}.{key.value}" if label else key.value
            if key.value in first:
                self.report(key, inner, f"the key {key.value!r} is repeated, first in line {first[key.value]}")
                continue
            first[key.value] = key.line
            if known is not None and key.value not in known:
                message, hint = f"the key {key.value!r} is unknown here", did_you_mean(key.value[:80], known)
                self.report(key, inner, message, allowed=", ".join(known), hint=hint)
            else:
                values[key.value] = value
        return values

    def scalar(
        self,
        values: dict[str, JsonNode],
        key: str,
        kind: str,
        label: str,
        path: str = "",
        allowed: str | None = None,
    ) -> Any:
        """The value of a key, or None where it is missing or of another type."""
        node = values.get(key)
        if node is None:
            return None
        label = f"{label}.{key}" if label else key
        types, words = _KINDS[kind]
        if path:
            self.place(path, node, label)
        value = node.value
        if node.kind != "scalar" or isinstance(value, bool) != (kind == "bool") or not isinstance(value, types):
            self.report(node, label, f"{format_node(node)} is not {words}", allowed=allowed or words)
            return None
        return value

    def choice(self, values: dict[str, JsonNode], key: str, kind: str, label: str, *choices: Any) -> Any:
        """A key whose value is one of a few; the first stands for a missing or wrong one."""
        allowed = " or ".join(repr(choice) if kind == "string" else str(choice) for choice in choices)
        value = self.scalar(values, key, kind, label, allowed=allowed)
        if value is not None and value not in choices:
            hint = did_you_mean(value, choices) if kind == "string" else None
            self.report(
                values[key], f"{label}.{key}".lstrip("."), f"{value!r} is not allowed", allowed=allowed, hint=hint
            )
        return value if value in choices else choices[0]

    def elements(self, node: JsonNode | None, label: str) -> list[JsonNode]:
        """The elements of a list; none where it is missing or no list."""
        if node is None or node.kind == "array":
            return [] if node is None else node.value
        self.report(node, label, f"{format_node(node)} is no list", allowed="[ … ]")
        return []


def format_node(node: JsonNode) -> str:
    """A value as a message shows it."""
    if node.kind != "scalar":
        return "an object" if node.kind == "object" else "a list"
    return repr(node.value)[:80]

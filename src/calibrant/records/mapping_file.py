"""The mapping file: which original nodes each op of an offline model was made from (docs/specification)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

from calibrant.errors import ConfigError, Problem, first_problems, shortened
from calibrant.text_source import Source, read_source

SIZE_LIMIT = 256 << 20
_ORIGINAL_NAMES = "_datadump_original_op_names"
_WEIGHT_COMPRESS = "_fe_weight_compress"
_MOST_PROBLEMS = 100
_T = TypeVar("_T")


@dataclass(frozen=True)
class MappedOp:
    """One op of the offline model.

    Parameters
    ----------
    name, type : str
        Name and type of the op itself, as given by the offline model's compiler.
    original_names : tuple[str, ...]
        The original nodes it was made from, in the order of the file. A node may occur twice; an op that the compiler
        added (a constant, a cast) has none.
    weight_compress : bool
        Whether the device can decompress this op's weights.
    """

    name: str
    type: str
    original_names: tuple[str, ...] = ()
    weight_compress: bool = False


@dataclass(frozen=True)
class Mapping:
    """The ops of an offline model, in the order of the file."""

    ops: tuple[MappedOp, ...]


def read_mapping(path: str | os.PathLike[str]) -> Mapping:
    """Read a mapping file: {"graph": [{"op": [{"name", "type", "attr": [{"key", "value"} …]} …]} …]}.

    Everything else in the file is ignored.

    Raises
    ------
    ConfigError
        The file cannot be read, is not JSON (with line and column), or parts of it have another shape (every such
        part, with its path).
    """
    file = read_source(path, "mapping file", SIZE_LIMIT)
    reader = _Reader(file)
    ops = [
        reader.op(op, where)
        for graph, place in reader.items(_parse(file), "graph", "")
        for op, where in reader.items(graph, "op", place)
    ]
    if not ops and not reader.problems:
        reader.report("there is no op in the file", "graph", "at least one graph with at least one op")
    if reader.problems:
        raise ConfigError(*reader.listing())
    return Mapping(tuple(ops))


def nuq_layer_names(mapping: Mapping) -> tuple[str, ...]:
    """The original nodes of the ops with weight compression, each once, in the order of the file.

    An op without original nodes counts as the node of its own name. Only some of the names are layers: quantizers, Pad,
    Relu and so on are fused with a layer.
    """
    names = (op.original_names or (op.name,) for op in mapping.ops if op.weight_compress)
    return tuple(dict.fromkeys(chain.from_iterable(names)))


def mapping_json(ops: Iterable[MappedOp]) -> str:
    """The text of a mapping file with these ops, as ``read_mapping`` reads it."""
    entries = [{"name": op.name, "type": op.type, "attr": _attributes(op)} for op in ops]
    return json.dumps({"graph": [{"op": entries}]}, indent=1, ensure_ascii=False) + "\n"


def nuq_record_text(layer_names: Iterable[str]) -> str:
    """The text of a NUQ record: the names of the layers with non-uniform weights, one a line."""
    return "".join(f"{name}\n" for name in layer_names)


def _attributes(op: MappedOp) -> list[dict[str, object]]:
    names = {"list": {"s": list(op.original_names), "val_type": "VT_LIST_STRING"}}
    attributes: list[dict[str, object]] = [{"key": _ORIGINAL_NAMES, "value": names}]
    if op.weight_compress:
        attributes.append({"key": _WEIGHT_COMPRESS, "value": {"b": True}})
    return attributes


def _parse(file: Source) -> object:
    try:
        return json.loads(file.text)
    except json.JSONDecodeError as error:
        message = "the mapping file is empty" if not file.text.strip() else f"this is not JSON: {error.msg}"
        raise ConfigError(file.problem(message, error.lineno, error.colno)) from None
    except RecursionError:
        raise ConfigError(file.problem("the mapping file is nested too deeply")) from None
    except ValueError as error:
        raise ConfigError(file.problem(f"this is not JSON: {shortened(str(error), 200)}")) from None


class _Reader:
    """Reads parsed JSON; a part of another shape becomes a problem and is then read as if it were empty."""

    def __init__(self, file: Source):
        self.problems: list[Problem] = []
        self._count = 0
        self._file = file

    def report(self, message: str, path: str, allowed: str) -> None:
        """Keep a problem, or only count it when there are many."""
        self._count += 1
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(self._file.problem(message, path=path or "the whole file", allowed=allowed))

    def listing(self) -> tuple[Problem, ...]:
        """The problems, and how many more there are."""
        return first_problems(self.problems, _MOST_PROBLEMS, self._count)

    def items(self, holder: object, key: str, path: str, needed: bool = True) -> list[tuple[object, str]]:
        """The elements of the array ``holder[key]``, each with its path."""
        item_path = f"{path}.{key}" if path else key
        items = self._member(holder, key, path, list, "an array", needed)
        return [(item, f"{item_path}[{number}]") for number, item in enumerate(items or ())]

    def op(self, op: object, path: str) -> MappedOp:
        """One op with its two attributes of interest."""
        if not isinstance(op, dict):
            self.report(f"this is {_json_type(op)}", path, 'an object with "name" and "type"')
            return MappedOp("", "")
        name = self._member(op, "name", path, str, "a string")
        kind = self._member(op, "type", path, str, "a string")
        values: dict[str, tuple[object, str]] = {}
        for attribute, place in self.items(op, "attr", path, needed=False):
            key = self._member(attribute, "key", place, str, "a string")
            if key in (_ORIGINAL_NAMES, _WEIGHT_COMPRESS):
                values[key] = (self._member(attribute, "value", place, dict, "an object"), f"{place}.value")
        return MappedOp(name or "", kind or "", self._names(values), self._compress(values))

    def _names(self, values: dict[str, tuple[object, str]]) -> tuple[str, ...]:
        value, path = values.get(_ORIGINAL_NAMES, (None, ""))
        if value is None:
            return ()
        names = self._member(value, "list", path, dict, "an object")
        items = [] if names is None else self.items(names, "s", f"{path}.list", needed=False)
        for name, place in items:
            if not isinstance(name, str):
                self.report(f"this is {_json_type(name)}", place, "the name of a node, a string")
        return tuple(name for name, _ in items if isinstance(name, str))

    def _compress(self, values: dict[str, tuple[object, str]]) -> bool:
        value, path = values.get(_WEIGHT_COMPRESS, (None, ""))
        return value is not None and bool(self._member(value, "b", path, bool, "true or false", needed=False))

    def _member(
        self, holder: object, key: str, path: str, kind: type[_T], called: str, needed: bool = True
    ) -> _T | None:
        """``holder[key]`` if it is of that kind, else None and a problem; only a needed one must not be missing."""
        member_path = f"{path}.{key}" if path else key
        if not isinstance(holder, dict):
            self.report(f"this is {_json_type(holder)}", path, f'an object with "{key}"')
        elif key not in holder:
            if needed:
                self.report(f'"{key}" is missing', member_path, called)
        else:
            member: object = holder[key]
            if isinstance(member, kind):
                return member
            self.report(f"this is {_json_type(member)}", member_path, called)
        return None


def _json_type(value: object) -> str:
    """The JSON type of a value, in words."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the string {value[:60]!r}"
    return {dict: "an object", list: "an array", int: "a number", float: "a number"}.get(type(value), "null")

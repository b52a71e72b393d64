"""The mapping file: which ops of an offline model stand for which original nodes (docs/specification)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain

from calibrant.errors import ConfigError, Problem
from calibrant.records.text_file import TextFile, read_text_file

SIZE_LIMIT = 256 << 20
_ORIGINAL_NAMES = "_datadump_original_op_names"
_WEIGHT_COMPRESS = "_fe_weight_compress"
_MOST_PROBLEMS = 100


@dataclass(frozen=True)
class MappedOp:
    """One op of the offline model.

    Parameters
    ----------
    name, type : of the op itself, as the offline model's compiler calls it.
    original_names : the original nodes it stands for, in the order of the file; a node may be named twice, and an op
        that the compiler made up (a constant, a cast) stands for none.
    weight_compress : the device can decompress this op's weights.
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

    Everything else in the file is left alone.

    Raises
    ------
    ConfigError : the file cannot be read, is no JSON (with line and column), or something in it has another shape
        (every such place, with its path).
    """
    file = read_text_file(path, "mapping file", SIZE_LIMIT)
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

    An op that names no original node stands for the node of its own name. Only some of the names belong to a layer:
    quantizers, Pad, Relu and so on are fused with it.
    """
    names = (op.original_names or (op.name,) for op in mapping.ops if op.weight_compress)
    return tuple(dict.fromkeys(chain.from_iterable(names)))


def mapping_json(ops: Iterable[MappedOp]) -> str:
    """The text of a mapping file that holds the ops' names, types and original nodes; ``read_mapping`` reads it."""
    entries = [{"name": op.name, "type": op.type, "attr": _attributes(op)} for op in ops]
    return json.dumps({"graph": [{"op": entries}]}, indent=1, ensure_ascii=False) + "\n"


def nuq_record_text(layer_names: Iterable[str]) -> str:
    """The text of a NUQ record: the names of the layers with non-uniform weights, one a line."""
    return "".join(f"{name}\n" for name in layer_names)


def _attributes(op: MappedOp) -> list[dict]:
    names = {"list": {"s": list(op.original_names), "val_type": "VT_LIST_STRING"}}
    attributes = [{"key": _ORIGINAL_NAMES, "value": names}]
    if op.weight_compress:
        attributes.append({"key": _WEIGHT_COMPRESS, "value": {"b": True}})
    return attributes


def _parse(file: TextFile) -> object:
    try:
        return json.loads(file.text)
    except json.JSONDecodeError as error:
        found = "the mapping file is empty" if not file.text.strip() else f"this is not JSON: {error.msg}"
        raise ConfigError(file.problem(found, (error.lineno, error.colno))) from None
    except RecursionError:
        raise ConfigError(file.problem("the mapping file is nested too deeply")) from None
    except ValueError as error:
        raise ConfigError(file.problem(f"this is not JSON: {str(error)[:200]}")) from None


class _Reader:
    """Takes parsed JSON apart and keeps what has not the expected shape; what is wrong is read as if it were empty."""

    def __init__(self, file: TextFile):
        self.problems: list[Problem] = []
        self._count = 0
        self._file = file

    def report(self, found: str, path: str, allowed: str) -> None:
        """Keep a problem, or only count it when there are many."""
        self._count += 1
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(self._file.problem(found, path=path or "the whole file", allowed=allowed))

    def listing(self) -> list[Problem]:
        """The problems, and how many more there are."""
        more = self._count - len(self.problems)
        return self.problems + ([self._file.problem(f"and {more} more problems")] if more else [])

    def items(self, holder: object, key: str, path: str, needed: bool = True) -> list[tuple[object, str]]:
        """The elements of the array ``holder[key]``, each with its path."""
        inside = f"{path}.{key}" if path else key
        found = self._member(holder, key, path, list, "an array", needed)
        return [(item, f"{inside}[{number}]") for number, item in enumerate(found or ())]

    def op(self, op: object, path: str) -> MappedOp:
        """One op with its two attributes of interest."""
        if not isinstance(op, dict):
            self.report(f"this is {_called(op)}", path, 'an object with "name" and "type"')
            return MappedOp("", "")
        name = self._member(op, "name", path, str, "a string")
        kind = self._member(op, "type", path, str, "a string")
        values = {}
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
        found = () if names is None else self.items(names, "s", f"{path}.list", needed=False)
        for name, place in found:
            if not isinstance(name, str):
                self.report(f"this is {_called(name)}", place, "the name of a node, a string")
        return tuple(name for name, _ in found if isinstance(name, str))

    def _compress(self, values: dict[str, tuple[object, str]]) -> bool:
        value, path = values.get(_WEIGHT_COMPRESS, (None, ""))
        return value is not None and bool(self._member(value, "b", path, bool, "true or false", needed=False))

    def _member(self, holder: object, key: str, path: str, kind: type, called: str, needed: bool = True):
        """``holder[key]`` if it is of that kind, else None and a problem; not needed, it may be missing."""
        inside = f"{path}.{key}" if path else key
        if not isinstance(holder, dict):
            self.report(f"this is {_called(holder)}", path, f'an object with "{key}"')
        elif key not in holder:
            if needed:
                self.report(f'"{key}" is missing', inside, called)
        elif isinstance(holder[key], kind):
            return holder[key]
        else:
            self.report(f"this is {_called(holder[key])}", inside, called)
        return None


def _called(value: object) -> str:
    """What JSON calls a value."""
    names: list[tuple[type, Callable[[object], str]]] = [
        (bool, lambda v: str(v).lower()),
        (dict, lambda _: "an object"),
        (list, lambda _: "an array"),
        (str, lambda v: f"the string {v[:60]!r}"),
        (int, lambda _: "a number"),
        (float, lambda _: "a number"),
    ]
    return next((name(value) for kind, name in names if isinstance(value, kind)), "null")

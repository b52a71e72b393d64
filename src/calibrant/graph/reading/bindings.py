"""Placeholders bound to constants: ``--set NAME=VALUE``, ``constants={NAME: VALUE}``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from calibrant.errors import ModelError, Problem, UnknownNameError, did_you_mean
from calibrant.graph import nodes as nd
from calibrant.graph.tf_core import NodeDef
from calibrant.json_text import parse_json

PLACEHOLDERS = frozenset({"Placeholder", "PlaceholderV2", "PlaceholderWithDefault"})
_WORDS = {"true": True, "false": False}


def bind(nodes: Mapping[str, NodeDef], constants: Mapping[str, Any], source: str) -> dict[str, NodeDef]:
    """The nodes, with placeholders replaced by constants.

    Parameters
    ----------
    constants : Mapping[str, Any]
        Placeholder → its value; a number, an array, or a text such as ``false`` or ``[1, 2]``. One number fills a
        placeholder of a known shape.

    Raises
    ------
    UnknownNameError
        There is no such placeholder.
    ModelError
        A value is not of its type and shape.
    """
    bound = dict(nodes)
    problems, unknown = [], []
    for key, value in constants.items():
        name = nd.node_name(key)
        node = nodes.get(name)
        if node is None or node.op not in PLACEHOLDERS:
            unknown.append(key)
            placeholders = [each.name for each in nodes.values() if each.op in PLACEHOLDERS]
            problems.append(
                Problem(
                    f"there is no placeholder {key!r} to be set"
                    if node is None
                    else f"is a {node.op}, not a placeholder",
                    file=source,
                    path=None if node is None else name,
                    allowed=", ".join(placeholders[:8]) or "a model with placeholders",
                    hint=did_you_mean(key, placeholders),
                )
            )
            continue
        try:
            bound[name] = nd.constant_node(name, _array(node, value))
        except (ValueError, TypeError, OverflowError) as error:
            dtype = nd.attribute(node, "dtype")
            problems.append(
                Problem(
                    f"cannot be set to {value!r}: {error}",
                    file=source,
                    path=name,
                    allowed=f"{dtype.name} of shape {_described(node)}",
                )
            )
    if problems and len(unknown) == len(problems):
        raise UnknownNameError(*problems, names=unknown)
    if problems:
        raise ModelError(*problems)
    return bound


def _array(node: NodeDef, value: Any) -> np.ndarray:
    dtype = nd.attribute(node, "dtype").as_numpy_dtype
    given = np.asarray(_parsed(value) if isinstance(value, str) and dtype is not object else value)
    if dtype is not object and given.dtype.kind not in "biufc":
        raise ValueError("not a number")
    with np.errstate(all="ignore"):
        array = given.astype(dtype)
    if dtype is not object and not _is_kept(given, array):
        raise ValueError("not a value of its type")
    if dtype is bool and not np.isin(given, (0, 1)).all():
        raise ValueError("neither true nor false")
    shape = node.attr["shape"].shape
    if shape.unknown_rank or "shape" not in node.attr:
        return array
    sizes = tuple(dimension.size for dimension in shape.dim)
    if array.ndim == 0 and -1 not in sizes:
        return np.full(sizes, array, array.dtype)
    if array.ndim == len(sizes) and all(size in (-1, has) for size, has in zip(sizes, array.shape, strict=True)):
        return array
    raise ValueError(f"its shape is {list(array.shape)}")


def _is_kept(given: np.ndarray, array: np.ndarray) -> bool:
    """Whether numbers are the same in another type, floats up to rounding."""
    if given.dtype.kind == array.dtype.kind == "f":
        return bool(np.array_equal(np.isfinite(given), np.isfinite(array)))
    return bool(np.array_equal(array, given))


def _parsed(text: str) -> Any:
    """A value as the command line gives it."""
    word = text.strip().lower()
    try:
        value = _WORDS[word] if word in _WORDS else parse_json(word)
    except json.JSONDecodeError:
        raise ValueError("neither true or false, nor a number, nor numbers as in [1, 2]") from None
    if isinstance(value, float) and math.isinf(value) and "inf" not in word:
        raise ValueError("larger than any number")
    return value


def _described(node: NodeDef) -> str:
    shape = node.attr["shape"].shape
    if shape.unknown_rank:
        return "any"
    return "[" + ", ".join("?" if each.size < 0 else str(each.size) for each in shape.dim) + "]"

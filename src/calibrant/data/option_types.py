"""Whether a value given from Python is of a type that its option takes."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from dataclasses import fields
from numbers import Integral, Real
from typing import Any

import numpy as np

from calibrant.errors import DataError, Problem

Accepts = Callable[[Any], bool]
Rows = Mapping[str, tuple[Accepts, str]]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_path(value: Any) -> bool:
    return isinstance(value, (str, os.PathLike)) and isinstance(os.fspath(value), str)


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_switch(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_)) or (isinstance(value, Integral) and value in (0, 1))


def _is_list(value: Any) -> bool:
    return isinstance(value, Collection) and not isinstance(value, (str, bytes, Mapping))


def _are_whole(value: Any) -> bool:
    return _is_list(value) and all(map(_is_whole, value))


def _are_texts(value: Any) -> bool:
    return _is_list(value) and all(map(_is_text, value))


def _are_paths(value: Any) -> bool:
    return _is_list(value) and all(map(_is_path, value))


def _is_by_name(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_is_text, value))


def _is_pair(value: Any) -> bool:
    return _are_whole(value) and len(value) == 2


def _are_numbers(value: Any) -> bool:
    return _is_number(value) or (_is_list(value) and not isinstance(value, Set) and all(map(_is_number, value)))


def _can_track(value: Any) -> bool:
    """Whether it can be called with items, a description and a total, as far as it tells."""
    if not callable(value):
        return False
    try:
        inspect.signature(value).bind((), "", None)
    except TypeError:
        return False
    except ValueError:  # some built-in functions do not say what they take
        pass
    return True


ACCEPTED: Rows = {
    "bool": (_is_switch, "True or False"),
    "int": (_is_whole, "a whole number"),
    "float": (_is_number, "a number"),
    "str": (_is_text, "a text"),
    "str | Path": (_is_path, "a path"),
    "Sequence[str | Path]": (_are_paths, "a list of paths"),
    "Sequence[int]": (_are_whole, "a list of whole numbers"),
    "Collection[int]": (_are_whole, "a list of whole numbers"),
    "tuple[int, int]": (_is_pair, "two whole numbers"),
    "float | Sequence[float]": (_are_numbers, "a number, or a list of numbers"),
    "Sequence[str]": (_are_texts, "a list of names"),
    "ProgressFn": (_can_track, "a function of (items, description, total) that returns the items"),
    "Mapping[str, Any]": (_is_by_name, "a dict by name"),
    "Mapping[str, object]": (_is_by_name, "a dict by name"),
    "Mapping[str, Sequence[int]]": (_is_by_name, "a dict of sizes by name"),
    "Mapping[str, Sequence[int | None]]": (_is_by_name, "a dict of sizes by name"),
    "int | str": (lambda value: _is_whole(value) or _is_text(value), "a whole number above 0, or 'all'"),
    "str | Sequence[str]": (lambda value: _is_text(value) or _are_texts(value), "a name or a list of names"),
}
"""By annotation of a field or an argument: what it takes, and how that is called."""

OR_NOTHING = " | None"


def plain_number(value: Any) -> Any:
    """A number of Python's for one of NumPy's, or for an array without axes; everything else as it is."""
    is_one = isinstance(value, np.generic) or (isinstance(value, np.ndarray) and not value.ndim)
    return value.item() if is_one else value


def check_types(options: Any, rows: Rows = ACCEPTED) -> None:
    """Check the fields of a group of options by their annotations, and make NumPy's numbers Python's.

    Parameters
    ----------
    options : Any
        A dataclass whose annotations are keys of ``rows``, each with or without ``| None``.
    rows : Rows
        By annotation, what it takes.

    Raises
    ------
    DataError
        Lists every field whose value has another type.
    """
    annotations = {field.name: str(field.type) for field in fields(options)}
    check_arguments(annotations, {name: getattr(options, name) for name in annotations}, rows)
    for name in annotations:
        object.__setattr__(options, name, plain_number(getattr(options, name)))


def check_arguments(annotations: Mapping[str, str], given: Mapping[str, Any], rows: Rows = ACCEPTED) -> None:
    """Check arguments of a function by its annotations.

    Parameters
    ----------
    annotations : Mapping[str, str]
        Of the function; those of what is given are as for :func:`check_types`.
    given : Mapping[str, Any]
        The arguments by name.
    rows : Rows
        By annotation, what it takes.

    Raises
    ------
    DataError
        Lists every argument that has another type.
    """
    problems = list(_problems(annotations, given, rows))
    if problems:
        raise DataError(*problems)


def check_number(name: str, value: int | None, least: int = 1) -> None:
    """Raises DataError unless this is a whole number of at least ``least``, or None."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if value is not None and (not whole or value < least):
        raise DataError(Problem(f"{name} is {value!r}", allowed=f"a whole number {'>= 0' if least == 0 else '> 0'}"))


def _problems(annotations: Mapping[str, str], given: Mapping[str, Any], rows: Rows) -> Iterable[Problem]:
    for name, value in given.items():
        annotation = annotations[name]
        accepts, called = rows[annotation.removesuffix(OR_NOTHING)]
        may_be_none = annotation.endswith(OR_NOTHING)
        if value is None and may_be_none:
            continue
        if not accepts(plain_number(value)):
            allowed = f"{called}, or None" if may_be_none else called
            shown = " ".join(repr(value).split())
            yield Problem(f"{name} is {shown:.80} ({type(value).__name__})", allowed=allowed)

"""Whether a value given from Python is of a type that its option takes."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import fields
from numbers import Integral, Real
from typing import Any

import numpy as np

from calibrant.data.images import ImageOptions
from calibrant.errors import DataError, Problem

Accepts = Callable[[Any], bool]


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


def _are_texts(value: Any) -> bool:
    return _is_text(value) or (_is_list(value) and all(map(_is_text, value)))


def _is_by_name(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_is_text, value))


def _is_image_options(value: Any) -> bool:
    return _is_by_name(value) or isinstance(value, ImageOptions)


ACCEPTED: dict[str, tuple[Accepts, str]] = {
    "bool": (_is_switch, "True or False"),
    "int": (_is_whole, "a whole number"),
    "float": (_is_number, "a number"),
    "str": (_is_text, "a text"),
    "str | Path": (_is_path, "a path"),
    "Sequence[int]": (_is_list, "a list of whole numbers"),
    "Mapping[str, Any]": (_is_by_name, "a dict by name"),
    "Mapping[str, object]": (_is_by_name, "a dict by name"),
    "Mapping[str, Sequence[int]]": (_is_by_name, "a dict of sizes by name"),
    "Mapping[str, Sequence[int | None]]": (_is_by_name, "a dict of sizes by name"),
    "ImageOptions | Mapping[str, object]": (_is_image_options, "ImageOptions or a dict of its parameters"),
    "int | str": (lambda value: _is_whole(value) or _is_text(value), "a whole number above 0, or 'all'"),
    "str | Sequence[str]": (_are_texts, "a name or a list of names"),
}
"""By annotation of a field or an argument: what it takes, and how that is called."""

OR_NOTHING = " | None"


def check_types(options: Any) -> None:
    """Hold the fields of a group of options against their annotations.

    Parameters
    ----------
    options : Any
        A dataclass whose annotations are keys of ``ACCEPTED``, each with or without ``| None``.

    Raises
    ------
    DataError
        Lists every field whose value has another type.
    """
    annotations = {field.name: str(field.type) for field in fields(options)}
    check_arguments(annotations, {name: getattr(options, name) for name in annotations})


def check_arguments(annotations: Mapping[str, str], given: Mapping[str, Any]) -> None:
    """Hold arguments of a function against its annotations.

    Parameters
    ----------
    annotations : Mapping[str, str]
        Of the function; those of what is given are as for :func:`check_types`.
    given : Mapping[str, Any]
        The arguments by name.

    Raises
    ------
    DataError
        Lists every argument that has another type.
    """
    problems = list(_problems(annotations, given))
    if problems:
        raise DataError(*problems)


def _problems(annotations: Mapping[str, str], given: Mapping[str, Any]) -> Iterable[Problem]:
    for name, value in given.items():
        annotation = annotations[name]
        accepts, called = ACCEPTED[annotation.removesuffix(OR_NOTHING)]
        may_be_none = annotation.endswith(OR_NOTHING)
        if value is None and may_be_none:
            continue
        if not accepts(value):
            allowed = f"{called}, or None" if may_be_none else called
            yield Problem(f"{name} is {value!r:.80} ({type(value).__name__})", allowed=allowed)

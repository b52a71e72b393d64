"""What a Keras file would become in memory, bounded before Keras reads it."""

from __future__ import annotations

import math
import sys
import threading
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import Any

from calibrant.archives import check_growth, check_unpacked_size, open_archive
from calibrant.json_text import parse_json
from calibrant.process_wide import alone

CONFIG_LIMIT = 16 * 2**20
"""Largest description of a model, in bytes; that of NASNetLarge has one."""

OBJECT_LIMIT = 20_000
"""Most layers, initializers, types and other objects of a description; a network of 1,000 convolutions has 5,000."""

DEPTH_LIMIT = 200
"""Deepest nesting of a description; a model in a model adds five."""

_BYTES = 4
"""Of a number, about."""

FRAMES = 10
"""Calls of Python within each other that Keras needs for each layer of a chain."""


def check_archive(path: Path) -> tuple[dict[str, Any], dict[str, Any], int]:
    """Check a ``.keras`` file.

    Returns
    -------
    tuple[dict[str, Any], dict[str, Any], int]
        Its ``metadata.json``; the description of its model, and how many objects that has.

    Raises
    ------
    zipfile.BadZipFile, ValueError, KeyError, OSError
        The file is damaged, or would become too large.
    """
    with open_archive(path) as archive:
        check_unpacked_size(archive.infolist())
        metadata = parse_json(_text(archive, "metadata.json"))
        description, objects = check_description(_text(archive, "config.json"))
    if not isinstance(metadata, dict):
        raise ValueError("metadata.json is no object")
    return metadata, description, objects


def check_description(text: Any) -> tuple[dict[str, Any], int]:
    """Check the description of a model.

    Parameters
    ----------
    text : Any
        JSON, as bytes or a string.

    Returns
    -------
    tuple[dict[str, Any], int]
        Its value, and how many layers, initializers, types and other objects it has.

    Raises
    ------
    ValueError
        It is no JSON object, or too large.
    """
    if not isinstance(text, (bytes, str)):
        raise ValueError("the description of the model is no text")
    if len(text) > CONFIG_LIMIT:
        raise ValueError(f"the description of the model is larger than {CONFIG_LIMIT >> 20} MiB")
    description = parse_json(text)
    level, depth, objects = [description] if isinstance(description, (dict, list)) else [], 0, 0
    while level:
        depth += 1
        objects += sum(isinstance(value, dict) and "class_name" in value for value in level)
        if depth > DEPTH_LIMIT:
            raise ValueError(f"the description of the model is nested more than {DEPTH_LIMIT} levels deep")
        level = [part for value in level for part in _parts(value) if isinstance(part, (dict, list))]
    if objects > OBJECT_LIMIT:
        raise ValueError(f"the description of the model has {objects:,} objects, more than {OBJECT_LIMIT:,}")
    if not isinstance(description, dict):
        raise ValueError("the description of the model is no JSON object")
    return description, objects


def check_arrays(content: Any, size: int) -> None:
    """Check the arrays of an HDF5 file; those in an archive are checked by Keras, when it reads them.

    Parameters
    ----------
    content : Any
        An open ``h5py.File``.
    size : int
        The size of the file in bytes.

    Raises
    ------
    ValueError
        They would take far more memory than the file has bytes.
    """
    from h5py import h5d, h5o

    total = 0

    def add(name: bytes) -> None:
        nonlocal total
        found = h5o.open(content.id, name)
        if isinstance(found, h5d.DatasetID):
            total += found.get_space().get_simple_extent_npoints() * found.dtype.itemsize

    h5o.visit(content.id, add)
    try:
        check_growth(total, size)
    except zipfile.BadZipFile as error:
        raise ValueError(f"its arrays: {error}") from None


@contextmanager
def weights_bounded(keras: Any, size: int) -> Iterator[list[str]]:
    """Meanwhile, layers get no weights that would take far more memory than a file of a size in bytes has.

    Yields
    ------
    list[str]
        Why weights were refused; Keras may put the error in others.

    Raises
    ------
    ValueError
        From within, where weights are refused.
    """
    kind, total, thread = keras.layers.Layer, 0, threading.get_ident()
    refused: list[str] = []
    add_weight = kind.add_weight
    parameters = signature(add_weight)

    def add_bounded(layer: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal total
        if threading.get_ident() != thread:
            return add_weight(layer, *arguments, **named)
        given = parameters.bind(layer, *arguments, **named).arguments
        shape = given.get("shape") or next((part for part in given.get("args", ()) if isinstance(part, tuple)), ())
        total += math.prod(int(side) for side in shape) * _BYTES
        try:
            check_growth(total, size)
        except zipfile.BadZipFile:
            message = f"describes layers whose weights take {total:,} bytes up to {layer.name!r}, but has {size:,}"
            refused.append(message)
            raise ValueError(message) from None
        return add_weight(layer, *arguments, **named)

    kind.add_weight = add_bounded
    try:
        yield refused
    finally:
        kind.add_weight = add_weight


@contextmanager
def calls_as_deep_as(objects: int) -> Iterator[None]:
    """Meanwhile, Python may call as deep as Keras does for a chain of so many layers, at most OBJECT_LIMIT."""
    with alone():
        before = sys.getrecursionlimit()
        sys.setrecursionlimit(before + FRAMES * objects)
        try:
            yield
        finally:
            sys.setrecursionlimit(before)


def _text(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > CONFIG_LIMIT:
        raise ValueError(f"{name} is larger than {CONFIG_LIMIT >> 20} MiB")
    return archive.read(name)


def _parts(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value

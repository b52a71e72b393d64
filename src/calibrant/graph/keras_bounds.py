"""What a Keras file would become in memory, bounded before Keras reads it."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from calibrant.archives import check_growth, check_unpacked_size, open_archive
from calibrant.json_text import parse_json

CONFIG_LIMIT = 16 * 2**20
"""Largest description of a model, in bytes; that of NASNetLarge has one."""

OBJECT_LIMIT = 20_000
"""Most layers, initializers, types and other objects of a description; a network of 1,000 convolutions has 5,000."""

DEPTH_LIMIT = 200
"""Deepest nesting of a description; a model in a model adds five."""


def check_archive(path: Path) -> dict[str, Any]:
    """Check a ``.keras`` file.

    Returns
    -------
    dict[str, Any]
        Its ``metadata.json``.

    Raises
    ------
    zipfile.BadZipFile, ValueError, KeyError, OSError
        The file is damaged, or would become too large.
    """
    with open_archive(path) as archive:
        check_unpacked_size(archive.infolist())
        metadata = parse_json(_text(archive, "metadata.json"))
        check_description(_text(archive, "config.json"))
    if not isinstance(metadata, dict):
        raise ValueError("metadata.json is no object")
    return metadata


def check_description(text: bytes | str) -> None:
    """Check the description of a model, in JSON.

    Raises
    ------
    ValueError
        It is not JSON, or too large.
    """
    if len(text) > CONFIG_LIMIT:
        raise ValueError(f"the description of the model is larger than {CONFIG_LIMIT >> 20} MiB")
    level, depth, objects = [parse_json(text)], 0, 0
    while level:
        depth += 1
        objects += sum(isinstance(value, dict) and "class_name" in value for value in level)
        if depth > DEPTH_LIMIT:
            raise ValueError(f"the description of the model is nested more than {DEPTH_LIMIT} levels deep")
        level = [part for value in level for part in _parts(value) if isinstance(part, (dict, list))]
    if objects > OBJECT_LIMIT:
        raise ValueError(f"the description of the model has {objects:,} objects, more than {OBJECT_LIMIT:,}")


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


def _text(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > CONFIG_LIMIT:
        raise ValueError(f"{name} is larger than {CONFIG_LIMIT >> 20} MiB")
    return archive.read(name)


def _parts(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value

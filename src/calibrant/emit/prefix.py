"""The prefix of the names of one result's files: ``PREFIX_fakequant.pb`` and so on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from calibrant.errors import ModelError, OutputError, Problem

LONGEST = 200
IN_MEMORY = "model"


def file_prefix(name: str | None, model: Any) -> str:
    """``name``, or else the name of the model's file or folder; ``model`` for a model in memory.

    Raises
    ------
    OutputError
        A name that is empty, very long, or would lead to another folder.
    """
    if name is None:
        return _own_name(Path(model)) if isinstance(model, (str, os.PathLike)) else IN_MEMORY
    if not name.strip() or name == ".." or name != Path(name).name or "\0" in name or len(name.encode()) > LONGEST:
        raise OutputError(
            Problem(
                f"{name[:LONGEST]!r} cannot be what files are called",
                allowed=f"1 to {LONGEST} characters without a slash",
                hint="choose another --name; --out says where the files go",
            )
        )
    return name


def _own_name(path: Path) -> str:
    if path.name == "saved_model.pb":
        path = path.parent
    if "\0" in str(path):
        raise ModelError(Problem("there is no such model", file=str(path)))
    path = Path(os.path.realpath(path))  # unlike Path.resolve, a loop of links is no error yet
    name = (path.name if path.is_dir() else path.stem) or IN_MEMORY
    if len(os.fsencode(name)) > LONGEST:
        message = f"its name is too long for the names of the files that are written, {len(os.fsencode(name))} bytes"
        hint = "choose a shorter one with --name"
        raise OutputError(Problem(message, file=name, allowed=f"{LONGEST} bytes", hint=hint))
    return name

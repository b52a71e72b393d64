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
        A name that is empty, very long, not UTF-8, or would lead to another folder.
    ModelError
        The model's path is none.
    """
    if name is None:
        return _own_name(Path(model)) if isinstance(model, (str, os.PathLike)) else IN_MEMORY
    length = len(name.encode(errors="surrogatepass"))
    is_name = name.strip() and name != ".." and name == Path(name).name and "\0" not in name
    if not is_name or length > LONGEST or not _is_utf8(name):
        raise OutputError(
            Problem(
                f"{name[:LONGEST]!r} cannot be what files are called",
                allowed=f"1 to {LONGEST} bytes of UTF-8 without a slash",
                hint="choose another --name; --out says where the files go",
            )
        )
    return name


def _own_name(path: Path) -> str:
    if path.name in ("saved_model.pb", ".meta"):
        path = path.parent
    if "\0" in str(path):
        raise ModelError(Problem("there is no such model", file=str(path)))
    try:
        path = Path(os.path.realpath(path))  # unlike Path.resolve, a loop of links is no error yet
        name = (path.name if path.is_dir() else path.stem) or IN_MEMORY
    except OSError as error:
        raise ModelError(Problem(f"cannot be read: {error.strerror}", file=str(path))) from None
    except UnicodeError:
        raise ModelError(Problem("there is no such model", file=ascii(str(path)))) from None
    hint = "choose another one with --name"
    if not _is_utf8(name):
        message = "its name is not UTF-8, so no files can be named after it"
        raise OutputError(Problem(message, file=repr(name), allowed="UTF-8", hint=hint))
    if len(os.fsencode(name)) > LONGEST:
        message = f"its name is too long for the names of the files that are written, {len(os.fsencode(name))} bytes"
        raise OutputError(Problem(message, file=name, allowed=f"{LONGEST} bytes", hint=hint))
    return name


def _is_utf8(name: str) -> bool:
    """Whether its bytes are, whatever the encoding of names that Python was started with."""
    try:
        os.fsencode(name).decode()
    except UnicodeError:
        return False
    return True

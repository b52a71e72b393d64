"""A file that is there already is replaced only by one of its kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from calibrant.errors import OutputError, Problem

HEAD = 512
"""Bytes of a page in which its first tag is looked for."""


def refuse_other_kind(path: Path, kind: str, is_one: Callable[[Path], bool]) -> None:
    """Check that what is to be written replaces no file of another kind.

    Raises
    ------
    OutputError
        It would.
    """
    try:
        is_other = path.is_file() and path.stat().st_size > 0 and not is_one(path)
    except OSError:  # what cannot be read is not replaced
        is_other = True
    if is_other:
        hint = "choose another name for what is written, or remove the file"
        raise OutputError(Problem(f"is there already, and is no {kind}", file=str(path), hint=hint))


def is_page(path: Path) -> bool:
    """Whether a file is an HTML page."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    return head.lstrip().lower().startswith((b"<!doctype html", b"<html"))

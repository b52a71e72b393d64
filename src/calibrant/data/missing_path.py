"""A path that leads nowhere: why, and which may have been meant."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from calibrant.data.input_source import read_errors, slice_hint
from calibrant.errors import DataError, Problem, did_you_mean, is_address


def exists(path: str | Path) -> bool:
    """Whether such a file exists; False for a name that the system refuses to look up."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def no_such_path(path: Path, text: str) -> DataError:
    """The error of a path that does not exist.

    Parameters
    ----------
    path : Path
        The path.
    text : str
        As the user wrote it.
    """
    hint = "URLs are not read: copy the data first" if is_address(text) else slice_hint(text) or _pattern_hint(path)
    if hint is None and exists(path.parent) and path.parent.is_dir():
        with read_errors(str(path.parent)):
            hint = did_you_mean(path.name, _present(path.parent))
    return DataError(Problem(_broken_link(path) or "no such file or folder", file=text, hint=hint))


def _pattern_hint(path: Path) -> str | None:
    """What to give for a pattern of names; None for a path that is none."""
    if not is_pattern(str(path)):
        return None
    folder = next((each for each in path.parents if not is_pattern(str(each))), path)
    return f"patterns are not expanded here: give one file, or the folder of images or .bin files, {str(folder)!r}"


def is_pattern(text: str) -> bool:
    """Whether a text that names no file may be meant for several."""
    return any(sign in text for sign in "*?[")


def _present(folder: Path) -> list[str]:
    """The names in a folder, without links that lead nowhere."""
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if not entry.is_symlink() or exists(entry.path)]


def _broken_link(path: Path) -> str | None:
    """What is wrong with a link that cannot be followed; None for what is no link."""
    if not os.path.islink(path):  # noqa: PTH114 - False for a name that the system refuses
        return None
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "is a link that leads back to itself"
    return f"is a link to {path.readlink()}, which is not there"

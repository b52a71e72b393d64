"""Checks, before any work is done, that results can be written where they are asked for."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

from calibrant.errors import OutputError, Problem, is_address
from calibrant.publish.kept import Kept, refuse_replacing
from calibrant.publish.staging import ATTEMPTS, LEFT_OVER

OPTIONS = "--out, --state, --page"


def path_to_write(given: str | os.PathLike[str], what: str) -> Path:
    """The path of what is to be written, as a caller gave it.

    Parameters
    ----------
    given : str | os.PathLike[str]
        The path.
    what : str
        What messages call it.

    Raises
    ------
    OutputError
        It is empty, where ``Path`` would take the working directory; or it is a URL.
    """
    text = os.fspath(given)
    if not text.strip():
        hint = "is a variable of the shell not set? the working directory is ."
        raise OutputError(Problem(f"the path of the {what} is empty", hint=hint))
    if is_address(text):
        hint = "URLs are not written to: write it here, and copy it"
        raise OutputError(Problem(f"is no path for the {what}", file=text, hint=hint))
    return Path(text)


def check_writable(folder: Path, names: Iterable[str] = (), kept: Iterable[Kept] = (), where: str = OPTIONS) -> None:
    """Check that files can be written to a folder, which need not exist; leaves no trace.

    Parameters
    ----------
    folder : Path
        The folder.
    names : Iterable[str]
        The names of the files that are to be written.
    kept : Iterable[Kept]
        What is read and must not be replaced by them.
    where : str
        What the caller's user sets to write elsewhere.

    Raises
    ------
    OutputError
        The folder, or its nearest existing parent, is a file or cannot be written to; or a file that is read would be
        replaced.
    """
    try:
        existing = _resolved(folder)
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
        if not existing.is_dir():
            raise OutputError(Problem("is in the way of the output folder, as it is not a folder", file=str(existing)))
        os.stat(folder)  # noqa: PTH116 - says what Path.exists keeps to itself: a name too long, a loop of links
    except FileNotFoundError:
        pass
    except (OSError, RuntimeError, ValueError) as error:
        raise _unwritable(folder, error, where) from None
    try:
        _write_nothing(existing)
    except OSError as error:
        raise _unwritable(existing, error, where) from None
    refuse_replacing((folder / name for name in names), kept)


def check_writable_file(path: Path, kept: Iterable[Kept] = (), where: str = OPTIONS) -> None:
    """Check that a file can be written, with the folders above it; leaves no trace.

    Parameters
    ----------
    path : Path
        The file to write.
    kept : Iterable[Kept]
        What is read and must not be replaced.
    where : str
        As for :func:`check_writable`.

    Raises
    ------
    OutputError
        It is a folder or a device, its name is too long, it is a file that is read, or its folder cannot be written to.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        pass
    except (OSError, RuntimeError, ValueError) as error:
        raise _unwritable(path, error, where) from None
    else:
        if stat.S_ISDIR(found.st_mode):
            raise OutputError(Problem("is a folder", file=str(path), allowed="the name of a file"))
        if not stat.S_ISREG(found.st_mode):
            raise OutputError(Problem("is a device or pipe", file=str(path), allowed="the name of a file"))
        refuse_replacing([path], kept)
    check_writable(_resolved(path).parent, where=where)


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except FileNotFoundError:  # what does not exist may be resolved, but not without a place to begin at
        hint = "change into a folder that exists, or give an absolute path"
        raise OutputError(Problem("the working directory has been removed", file=str(path), hint=hint)) from None


def _write_nothing(folder: Path) -> None:
    for left in reversed(range(ATTEMPTS)):
        try:
            with tempfile.TemporaryFile(dir=folder, prefix=LEFT_OVER):
                return
        except FileNotFoundError:  # another run may have exchanged the folder, or taken the file for a dead run's
            if not left:
                raise


def _unwritable(path: Path, error: Exception, where: str) -> OutputError:
    reason = getattr(error, "strerror", None) or str(error)
    hint = f"choose another place ({where})"
    return OutputError(Problem(f"cannot be written to: {reason}", file=str(path), hint=hint))

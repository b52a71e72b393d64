"""An output folder that always holds one complete result: files are written to a staging folder, then renamed."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from calibrant.emit.exchange import take_place
from calibrant.emit.staging import ATTEMPTS, LEFT_OVER, held, staging_folder
from calibrant.errors import OutputError, Problem

Content = bytes | Callable[[Path], None]
"""The content of a file, or a function that writes a file or folder at a path."""


def check_writable(folder: Path) -> None:
    """Check before any work is done that the results can be written; leaves no trace.

    Raises
    ------
    OutputError
        The folder, or its nearest existing parent, is a file or cannot be written to.
    """
    try:
        existing = folder.resolve()
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
        if not existing.is_dir():
            raise OutputError(Problem("is in the way of the output folder, as it is not a folder", file=str(existing)))
        os.stat(folder)  # noqa: PTH116 - says what Path.exists keeps to itself: a name too long, a loop of links
    except FileNotFoundError:
        pass
    except (OSError, RuntimeError, ValueError) as error:
        raise _unwritable(folder, error) from None
    try:
        _write_nothing(existing)
    except OSError as error:
        raise _unwritable(existing, error) from None


def _write_nothing(folder: Path) -> None:
    for left in reversed(range(ATTEMPTS)):
        try:
            with tempfile.TemporaryFile(dir=folder, prefix=LEFT_OVER):
                return
        except FileNotFoundError:  # another run may have exchanged the folder in between
            if not left:
                raise


def _unwritable(folder: Path, error: Exception) -> OutputError:
    reason = getattr(error, "strerror", None) or str(error)
    return OutputError(Problem(f"cannot be written to: {reason}", file=str(folder), hint="choose another --out"))


def write_folder(folder: Path, files: Mapping[str, Content]) -> tuple[Path, ...]:
    """Write files, given as bytes or as a function that writes a file or folder at a path; all of them or none.

    An existing folder is exchanged for the new one in one step; its other files are kept. If that is impossible (see
    :func:`calibrant.emit.exchange.take_place`), the files are renamed into it one by one; only a kill within these
    microseconds can leave a mixed result. Several runs may write into one folder: the last wins.

    Raises
    ------
    OutputError
        The disk is full, or the folder cannot be written to. The previous result is then still complete.
    """
    check_writable(folder)
    made: list[Path] = []
    try:
        place = folder.resolve()
        made = _make_parents(place)
        with _staging(place) as staging:
            for name, content in files.items():
                _stage(staging / name, content)
            with _undisturbed():
                _move_into_place(staging, place, files)
    except OSError as error:
        for parent in made:
            with suppress(OSError):
                parent.rmdir()
        raise OutputError(
            Problem(f"cannot be written: {error.strerror or error}", file=str(error.filename or folder))
        ) from None
    return tuple(folder / name for name in files)


def _make_parents(folder: Path) -> list[Path]:
    """Make the missing parents of the folder; returns the new folders, deepest first."""
    missing = []
    parent = folder.parent
    while not parent.exists():
        missing.append(parent)
        parent = parent.parent
    folder.parent.mkdir(parents=True, exist_ok=True)
    return missing


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """A staging folder: beside the folder, or inside it if its parent cannot be written to."""
    with ExitStack() as stack:
        try:
            staging = stack.enter_context(staging_folder(folder.parent))
        except OSError:
            if not folder.is_dir():
                raise
            staging = stack.enter_context(staging_folder(folder))
        yield staging


def _stage(path: Path, content: Content) -> None:
    if callable(content):
        content(path)
        return
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _move_into_place(staging: Path, folder: Path, files: Mapping[str, Content]) -> None:
    if not folder.exists():
        try:
            staging.rename(folder)
            return
        except OSError:
            if not folder.is_dir():  # otherwise another run has just made it
                raise
    if take_place(staging, folder, files):
        return
    try:
        _rename_each(staging, folder, files)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with staging_folder(folder) as inside:  # the folder is a mount point
            for name in files:
                shutil.move(staging / name, inside / name)
            _rename_each(inside, folder, files)


def _rename_each(staging: Path, folder: Path, names: Iterable[str]) -> None:
    with held(folder):
        for name in names:
            target = folder / name
            if target.is_dir() and not target.is_symlink():
                target.rename(staging / f"{name}.previous")
            (staging / name).replace(target)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Delay interrupts while files are being renamed (main thread only; others are never interrupted)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    handlers = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
    previous = {kind: handler for kind, handler in handlers.items() if handler is not None}
    for kind in previous:
        signal.signal(kind, lambda caught, frame: received.append(caught))
    try:
        yield
    finally:
        for kind, handler in previous.items():
            signal.signal(kind, handler)
        for number in received:
            signal.raise_signal(number)

"""An output folder that always holds one whole result: everything is written aside first, then renamed into place."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from calibrant.errors import OutputError, Problem

Content = "bytes | Callable[[Path], None]"
LEFT_OVER = ".calibrant-partial-"


def check_writable(folder: Path) -> None:
    """Find out before any work is done whether the results can be written; leaves no trace.

    Raises
    ------
    OutputError : the folder, or the one it would be made in, is a file or cannot be written to.
    """
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise OutputError(Problem("is in the way of the output folder, as it is not a folder", file=str(existing)))
    try:
        with tempfile.TemporaryFile(dir=existing, prefix=LEFT_OVER):
            pass
    except OSError as error:
        raise OutputError(
            Problem(f"cannot be written to: {error.strerror}", file=str(existing), hint="choose another --out")
        ) from None


def write_folder(folder: Path, files: Mapping[str, Content]) -> tuple[Path, ...]:
    """Write files, given as bytes or as a function that writes a file or folder at a path; all of them or none.

    Raises
    ------
    OutputError : the disk is full, or the folder cannot be written to. The previous result is then still whole.
    """
    check_writable(folder)
    staging = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _clear_left_overs(folder)
        staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{LEFT_OVER}{folder.name}-"))
        for name, content in files.items():
            _stage(staging / name, content)
        staging.chmod(0o755)
        with _undisturbed():
            _move_into_place(staging, folder, files)
    except OSError as error:
        place = error.filename or folder
        raise OutputError(Problem(f"cannot be written: {error.strerror or error}", file=str(place))) from None
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
    return tuple(folder / name for name in files)


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
        staging.rename(folder)
        return
    for name in files:
        target = folder / name
        if target.is_dir() and not target.is_symlink():
            target.rename(staging / f"{name}.previous")
        (staging / name).replace(target)


def _clear_left_overs(folder: Path) -> None:
    for path in folder.parent.glob(f"{LEFT_OVER}{folder.name}-*"):
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Put off interrupts while files are being renamed (main thread only; others are never interrupted)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    watched = [signal.SIGINT, signal.SIGTERM]
    previous = [signal.signal(number, lambda caught, frame: received.append(caught)) for number in watched]
    try:
        yield
    finally:
        for number, handler in zip(watched, previous, strict=True):
            signal.signal(number, handler)
        for number in received:
            signal.raise_signal(number)

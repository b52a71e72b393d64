"""Folders in which results are made before anyone sees them; those of runs that were killed are cleared away."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # not a POSIX system: nothing tells a dead run's folder from a living one's, so all are kept
    fcntl = None

LEFT_OVER = ".calibrant-partial-"
ATTEMPTS = 10


@contextmanager
def staging_folder(parent: Path) -> Iterator[Path]:
    """An empty folder in ``parent``, removed at the end with whatever it then holds.

    The run holds a lock on it that dies with the process. So the next run knows which folders nobody works in any
    more, and two runs at once leave each other alone.

    Raises
    ------
    OSError : ``parent`` cannot be written to.
    """
    clear_left_overs(parent)
    path, lock = _new_folder(parent)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def clear_left_overs(parent: Path) -> None:
    """Remove the staging folders of runs that are no more."""
    for path in sorted(parent.glob(f"{LEFT_OVER}*")):
        with contextlib.suppress(BlockingIOError):
            lock = _lock(path)
            if lock is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(lock)


def _new_folder(parent: Path) -> tuple[Path, int | None]:
    for _ in range(ATTEMPTS):
        path = parent / f"{LEFT_OVER}{secrets.token_hex(6)}"
        path.mkdir()
        # Until it is locked it looks like a dead run's: another run may have cleared it, or be about to.
        with contextlib.suppress(BlockingIOError):
            lock = _lock(path)
            if path.exists():
                return path, lock
            if lock is not None:
                os.close(lock)
    raise OSError(f"every new folder in {parent} is removed at once")


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder; waits for one that is in it. Without locks nobody is kept out."""
    lock = _lock(folder, wait=True)
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


def _lock(path: Path, wait: bool = False) -> int | None:
    """A descriptor that holds the lock of a folder; None: it is no folder, or there are no locks here.

    Raises
    ------
    BlockingIOError : another run holds it, and nobody waits.
    """
    if fcntl is None:
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise
        return None
    return descriptor

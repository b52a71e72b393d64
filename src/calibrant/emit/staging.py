"""Staging folders, in which results are made before they are moved; those of killed runs are removed."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform != "win32":
    import fcntl

LEFT_OVER = ".calibrant-partial-"
ATTEMPTS = 10


@contextmanager
def staging_folder(parent: Path) -> Iterator[Path]:
    """An empty folder in ``parent``, removed at the end with whatever it then holds.

    The run holds a lock on it that ends with the process. So the next run knows which folders are no longer in use, and
    two runs at the same time do not disturb each other.

    Raises
    ------
    OSError
        ``parent`` cannot be written to.
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
    """Remove the staging folders of runs that have ended."""
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
    """Keep other runs out of a folder; waits for one that is in it. Without locks no run is kept out."""
    lock = _lock(folder, wait=True)
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


def _lock(path: Path, wait: bool = False) -> int | None:
    """A descriptor that holds the lock of a folder; None if it is not a folder or the system has no locks.

    Raises
    ------
    BlockingIOError
        Another run holds it, and ``wait`` is false.
    """
    if sys.platform == "win32":  # no locks: a folder of a killed run cannot be recognised, so all are kept
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

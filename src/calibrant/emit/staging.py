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
        lock = _lock(path)
        if lock is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)


def _new_folder(parent: Path) -> tuple[Path, int | None]:
    for _ in range(ATTEMPTS):
        path = parent / f"{LEFT_OVER}{secrets.token_hex(6)}"
        path.mkdir()
        lock = _lock(path)
        if path.exists():  # another run may have cleared it before it was locked
            return path, lock
        if lock is not None:
            os.close(lock)
    raise OSError(f"every new folder in {parent} is removed at once")


def _lock(path: Path) -> int | None:
    """A descriptor that holds the lock of a folder, or None: it is another's, or there are no locks here."""
    if fcntl is None:
        return None
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
        else:
            return descriptor
    return None

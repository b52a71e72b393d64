"""Staging folders, in which results are made before they are moved; those of killed runs are recognised."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform != "win32":
    import fcntl

LEFT_OVER = ".calibrant-partial-"
ATTEMPTS = 10


class Staging:
    """A folder with the results that are about to appear in the folder above it.

    The run holds a lock on it that ends with the process. So the next run knows which folders are no longer in use, and
    two runs at the same time do not disturb each other. Others cannot read it or write into it.

    Parameters
    ----------
    path : Path
        Its absolute path; the name starts with LEFT_OVER.

    Attributes
    ----------
    first : Staging
        The one whose journal lists what is moved from this one; itself, unless several are moved together.

    Raises
    ------
    ValueError
        Any other path: what a staging folder holds is removed in the end.
    """

    def __init__(self, path: Path):
        if not (path.is_absolute() and path.name.startswith(LEFT_OVER)):
            raise ValueError(f"{path} is no staging folder")
        self.path = path
        self.target = path.parent
        self.new, self.old = path / "new", path / "old"
        self.journal = path / "journal"
        self.first = self

    def remove(self) -> None:
        """Remove it with whatever it holds."""
        shutil.rmtree(self.path, ignore_errors=True)


@contextmanager
def staging_folder(parent: Path) -> Iterator[Staging]:
    """An empty staging folder in ``parent``, removed at the end unless a journal in it asks the next run to go on.

    Raises
    ------
    OSError
        ``parent`` cannot be written to.
    """
    staging, lock = _new_staging(parent)
    try:
        staging.new.mkdir()
        staging.old.mkdir()
        yield staging
    finally:
        if not os.path.lexists(staging.first.journal):
            staging.remove()
        if lock is not None:
            os.close(lock)


@contextmanager
def left_over(path: Path) -> Iterator[Staging | None]:
    """The staging folder at a path if this user's run made it and has ended, locked as long as the block lasts."""
    lock = None
    with contextlib.suppress(BlockingIOError):
        lock = _lock(path)
    if lock is None:
        yield None
        return
    try:
        yield Staging(path) if is_ours(path) else None
    finally:
        os.close(lock)


def left_overs(parent: Path) -> Iterator[Staging]:
    """The staging folders in a folder of this user's runs that have ended, each locked while it is looked at."""
    for path in sorted(parent.absolute().glob(f"{LEFT_OVER}*")):
        with left_over(path) as staging:
            if staging is not None:
                yield staging


def remove_probes(parent: Path) -> None:
    """Remove the empty files with which killed runs have checked that they may write."""
    for path in sorted(parent.glob(f"{LEFT_OVER}*")):
        with contextlib.suppress(OSError):
            found = path.lstat()
            if stat.S_ISREG(found.st_mode) and not found.st_size:
                path.unlink()


def is_ours(path: Path) -> bool:
    """Whether it is a folder of this user, into which only those can have written who can write beside it as they like.

    These are none, but for file systems without permissions, on which everybody seems to be allowed everything.
    """
    try:
        found, above = path.lstat(), path.parent.stat()
    except OSError:
        return False
    writers = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if writers & ~above.st_mode or (writers and above.st_mode & stat.S_ISVTX):
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def _new_staging(parent: Path) -> tuple[Staging, int | None]:
    for _ in range(ATTEMPTS):
        path = parent.absolute() / f"{LEFT_OVER}{secrets.token_hex(6)}"
        path.mkdir(mode=0o700)
        # Until it is locked it looks like a dead run's: another run may have cleared it, or be about to.
        with contextlib.suppress(BlockingIOError):
            lock = _lock(path)
            if path.exists():
                return Staging(path), lock
            if lock is not None:
                os.close(lock)
    raise OSError(f"every new folder in {parent} is removed at once")


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder; waits for one that is in it. Without locks no run is kept out."""
    while True:
        lock = _lock(folder, wait=True)
        if lock is None or _is_still(folder, lock):
            break
        os.close(lock)  # the folder was exchanged for another meanwhile
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


def _is_still(folder: Path, lock: int) -> bool:
    try:
        return os.path.samestat(folder.stat(), os.fstat(lock))
    except FileNotFoundError:
        return True  # whatever follows says so


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

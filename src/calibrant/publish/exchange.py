"""Replace a folder by another in one step that cannot be interrupted."""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
from collections.abc import Collection
from pathlib import Path

from calibrant.publish.disk import flush_folder
from calibrant.publish.staging import LEFT_OVER

AT_FDCWD = -100
RENAME_EXCHANGE = 2
MOST_KEPT = 1000


def take_place(new: Path, old: Path, replaced: Collection[str]) -> bool:
    """Swap two folders; files of ``old`` other than ``replaced`` are kept. Returns False if nothing was changed.

    A folder is not swapped if it is the working directory, holds other folders or very many files, has another owner,
    or is a mount point, or if the system cannot swap. ``new`` may then hold links to files of ``old``; it is in a
    staging folder, and they disappear with it.

    Raises
    ------
    OSError
        The swap cannot be flushed to disk; it is undone.
    """
    try:
        if not (_is_ordinary(new, old) and _keep_others(new, old, replaced) and _swap(new, old)):
            return False
    except OSError:
        return False
    try:
        flush_folder(old.parent)
    except OSError:
        _swap(new, old)
        raise
    return True


def _is_ordinary(new: Path, old: Path) -> bool:
    if Path.cwd().is_relative_to(old):
        return False
    mine, theirs = new.stat(), old.stat()
    return (mine.st_uid, mine.st_gid, mine.st_dev) == (theirs.st_uid, theirs.st_gid, theirs.st_dev)


def _keep_others(new: Path, old: Path, replaced: Collection[str]) -> bool:
    with os.scandir(old) as entries:
        others = [entry for entry in entries if entry.name not in replaced and not _is_probe(entry)]
    if len(others) > MOST_KEPT or any(entry.is_dir(follow_symlinks=False) for entry in others):
        return False
    for entry in others:
        os.link(entry.path, new / entry.name, follow_symlinks=False)
    new.chmod(stat.S_IMODE(old.stat().st_mode))
    shutil.copystat(old, new)
    return True


def _is_probe(entry: os.DirEntry) -> bool:
    """Whether it is the empty, temporary file with which a run checks that it may write."""
    return entry.name.startswith(LEFT_OVER) and entry.is_file(follow_symlinks=False)


def _swap(first: Path, second: Path) -> bool:
    """Linux' renameat2 with RENAME_EXCHANGE."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:
        return False
    return rename(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), ctypes.c_uint(RENAME_EXCHANGE)) == 0

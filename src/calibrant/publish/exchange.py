"""Replace a folder by another in one step that cannot be interrupted."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import stat
from collections.abc import Collection, Mapping
from pathlib import Path

from calibrant.publish.disk import flush_folder, write_flushed
from calibrant.publish.staging import LEFT_OVER, Staging, held

AT_FDCWD = -100
RENAME_EXCHANGE = 2
MOST_KEPT = 1000
NOTE = "exchange"
"""In a staging folder: with which folder ``new`` is exchanged, and what was in that one."""


def take_place(staging: Staging, old: Path, replaced: Collection[str]) -> bool:
    """Swap ``new`` of a staging folder and a folder beside it. Returns False if nothing was changed.

    Files of ``old`` other than ``replaced`` are kept, also those that other programs make, replace or remove meanwhile.
    A folder is not swapped if it is the working directory, holds other folders or very many files, has another owner,
    or is a mount point, or if the system cannot swap. ``new`` may then hold links to files of ``old``; they disappear
    with the staging folder.

    Raises
    ------
    OSError
        The swap cannot be flushed to disk; it is undone.
    """
    new = staging.new
    try:
        kept = _keep_others(new, old, replaced) if _is_ordinary(new, old) else None
        if kept is None:
            return False
        _write_note(staging, old, replaced, kept)
        if not _swap(new, old):
            return False
    except OSError:
        return False
    try:
        _bring_others(new, old, replaced, kept)
        _remove_others(new, old, kept)
    except OSError:
        _swap_back(new, old, replaced, kept)
        return False
    try:
        flush_folder(old.parent)
    except OSError:
        _swap_back(new, old, replaced, kept)
        raise
    with contextlib.suppress(OSError):  # nothing is left to bring for the next run
        (staging.path / NOTE).unlink()
    return True


def finish_exchange(staging: Staging) -> None:
    """Where a killed run had swapped, bring to the folder what other programs had made there just before.

    What they had removed comes back: what is missing may be missing because the run was removing what it had replaced.

    Raises
    ------
    OSError
        It cannot be brought.
    """
    try:
        note = json.loads((staging.path / NOTE).read_bytes())
        folder, replaced, kept = staging.target / Path(note["folder"]).name, note["replaced"], note["kept"]
        is_swapped = staging.new.lstat().st_ino == note["inode"]
    except (FileNotFoundError, ValueError, TypeError, KeyError, RecursionError):
        return
    if is_swapped and folder.is_dir() and not folder.is_symlink():
        with held(folder):
            _bring_others(staging.new, folder, replaced, kept)
            flush_folder(folder)


def _is_ordinary(new: Path, old: Path) -> bool:
    if Path.cwd().is_relative_to(old):
        return False
    mine, theirs = new.stat(), old.stat()
    return (mine.st_uid, mine.st_gid, mine.st_dev) == (theirs.st_uid, theirs.st_gid, theirs.st_dev)


def _keep_others(new: Path, old: Path, replaced: Collection[str]) -> dict[str, int] | None:
    """Link the other files into the new folder: name → inode; None where that is not to be done."""
    with os.scandir(old) as entries:
        others = [entry for entry in entries if entry.name not in replaced and not _is_probe(entry)]
    if len(others) > MOST_KEPT or any(entry.is_dir(follow_symlinks=False) for entry in others):
        return None
    for entry in others:
        os.link(entry.path, new / entry.name, follow_symlinks=False)
    new.chmod(stat.S_IMODE(old.stat().st_mode))
    shutil.copystat(old, new)
    return {entry.name: (new / entry.name).lstat().st_ino for entry in others}


def _is_probe(entry: os.DirEntry) -> bool:
    """Whether it is the empty, temporary file with which a run checks that it may write."""
    return entry.name.startswith(LEFT_OVER) and entry.is_file(follow_symlinks=False)


def _write_note(staging: Staging, old: Path, replaced: Collection[str], kept: Mapping[str, int]) -> None:
    note = {"folder": old.name, "inode": old.lstat().st_ino, "replaced": list(replaced), "kept": kept}
    write_flushed(staging.path / NOTE, json.dumps(note).encode())


def _bring_others(was: Path, now: Path, replaced: Collection[str], kept: Mapping[str, int]) -> None:
    """After a swap: bring to ``now`` what other programs have made in ``was`` since its files were linked."""
    with os.scandir(was) as entries:
        found = {entry.name: entry for entry in entries if entry.name not in replaced and not _is_probe(entry)}
    for name, entry in found.items():
        inode, there = entry.inode(), _inode(now / name)
        if there is None and kept.get(name) != inode:
            _bring(entry, now / name)
        elif there is not None and there != inode and there == kept.get(name):
            Path(entry.path).replace(now / name)


def _remove_others(was: Path, now: Path, kept: Mapping[str, int]) -> None:
    """Remove in ``now`` what other programs have removed in ``was``, which is whole, since its files were linked."""
    for name, inode in kept.items():
        if _inode(was / name) is None and _inode(now / name) == inode:
            (now / name).unlink()


def _bring(entry: os.DirEntry, target: Path) -> None:
    """A file gets the name only if nobody has taken it meanwhile; a folder neither, unless that one is empty."""
    if entry.is_dir(follow_symlinks=False):
        Path(entry.path).rename(target)
    else:
        with contextlib.suppress(FileExistsError):
            os.link(entry.path, target, follow_symlinks=False)


def _inode(path: Path) -> int | None:
    try:
        return path.lstat().st_ino
    except FileNotFoundError:
        return None


def _swap_back(new: Path, old: Path, replaced: Collection[str], kept: Mapping[str, int]) -> None:
    if _swap(new, old):
        _bring_others(new, old, replaced, kept)
        _remove_others(new, old, kept)


def _swap(first: Path, second: Path) -> bool:
    """Linux' renameat2 with RENAME_EXCHANGE."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:
        return False
    return rename(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), ctypes.c_uint(RENAME_EXCHANGE)) == 0

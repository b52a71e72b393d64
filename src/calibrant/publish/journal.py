"""Several files and folders moved into place as one step, which the next run finishes if this one is killed.

The new ones lie complete in staging folders. The journal, one file that is renamed into the first of them, is the
moment from which on they count; what it lists can be moved on from wherever a run was interrupted. The old ones are
kept until all are moved, so an error takes everything back.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from calibrant.publish.disk import flush_folder, write_flushed
from calibrant.publish.exchange import finish_exchange
from calibrant.publish.staging import LEFT_OVER, Staging, held, is_ours, left_over, left_overs, remove_probes

FIRST = "first"
"""In each staging folder of a move but the first: the name of the file that holds the first one's path."""
Moves = Mapping[Path, Sequence[str]]
"""Staging folder → names in its ``new`` that move to the folder above it."""


def move_into_place(stagings: Sequence[Staging]) -> None:
    """Move what is in ``new`` of each staging folder to the folder above it: everything, or nothing.

    Raises
    ------
    OSError
        Something cannot be moved. Everything is as it was; if not even that is possible, the journal stays.
    """
    first = stagings[0]
    moves = {staging.path: sorted(os.listdir(staging.new)) for staging in stagings}  # noqa: PTH208 - only names
    for staging in stagings:
        staging.first = first
    try:
        if not _is_one_rename(moves):
            _write_journal(first, moves)
        _move_all(moves)
    except BaseException:
        _take_back_all(moves)
        first.journal.unlink(missing_ok=True)
        raise
    with contextlib.suppress(OSError):  # all is moved: nothing will be left to do for the next run
        first.journal.unlink(missing_ok=True)


def recover(folder: Path) -> None:
    """Finish what killed runs had begun to move into a folder, and remove everything else that they left there.

    Raises
    ------
    OSError
        It can neither be finished nor taken back.
    """
    for staging in left_overs(Path(os.path.realpath(folder))):
        finish_exchange(staging)
        first = _first_of(staging)
        if first == staging.path:
            _finish(staging)
        elif first is not None and os.path.lexists(first):
            with left_over(first) as found:
                if found is None:  # its run is alive
                    continue
                _finish(found)
        staging.remove()
    remove_probes(folder)


def _finish(first: Staging) -> None:
    moves = _read_journal(first)
    if moves:
        with ExitStack() as stack:
            for target in sorted({path.parent for path in moves}):
                stack.enter_context(held(target))
            try:
                _move_all(moves)
            except OSError:
                _take_back_all(moves)
            first.journal.unlink()
    for path in (*moves, first.path):
        Staging(path).remove()


def _first_of(staging: Staging) -> Path | None:
    """The staging folder that has the journal: this one, unless it names another; None if what it names is none."""
    try:
        first = Path(os.fsdecode((staging.path / FIRST).read_bytes()))
    except FileNotFoundError:
        return staging.path
    return first if first.is_absolute() and first.name.startswith(LEFT_OVER) else None


def _write_journal(first: Staging, moves: Moves) -> None:
    for path in moves:
        if path != first.path:
            write_flushed(path / FIRST, os.fsencode(first.path))
        flush_folder(path.parent)
    others = {os.fspath(path): names for path, names in moves.items() if path != first.path}
    write_flushed(first.journal, json.dumps({"here": moves[first.path], "there": others}).encode())


def _read_journal(first: Staging) -> Moves:
    """What is to be moved; only this user's staging folders, only to the folders that they are in.

    The place of the first is where it is found, as it may have been renamed since with the folder that it is in.
    """
    try:
        listed = json.loads(first.journal.read_bytes())
        moves = {first.path: listed["here"], **{Path(path): names for path, names in listed["there"].items()}}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError, TypeError, KeyError, RecursionError):
        raise OSError(f"{first.journal} is damaged: look at what is beside it, and remove its folder") from None
    return {
        path: [name for name in names if Path(name).name == name]
        for path, names in moves.items()
        if path == first.path or _belongs(path, first)
    }


def _belongs(path: Path, first: Staging) -> bool:
    if not (path.is_absolute() and path.name.startswith(LEFT_OVER) and is_ours(path)):
        return False
    return _first_of(Staging(path)) == first.path


def _is_one_rename(moves: Moves) -> bool:
    """Whether a single file is to be moved, and the one before it is kept or there is none."""
    places = _places(moves)
    new, target, old = places[0]
    if len(places) > 1 or _is_folder(new) or _is_folder(target):
        return False
    return not os.path.lexists(target) or _link(target, old)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _places(moves: Moves) -> list[tuple[Path, Path, Path]]:
    """Of each file or folder: where it is made, where it belongs, and where the one before it is kept."""
    each = [(path, name) for path, names in moves.items() for name in names]
    return [(path / "new" / name, path.parent / name, path / "old" / name) for path, name in each]


def _move_all(moves: Moves) -> None:
    for new, target, old in _places(moves):
        if os.path.lexists(new):
            if os.path.lexists(target):
                _keep(target, old, _is_folder(target) or _is_folder(new))
            new.replace(target)
    for path in moves:
        flush_folder(path.parent)


def _keep(target: Path, old: Path, folder: bool) -> None:
    """Keep what is to be replaced. A file has both names until then, where the file system can do that."""
    if os.path.lexists(old):
        if os.path.samestat(old.lstat(), target.lstat()):
            return
        shutil.rmtree(old) if _is_folder(old) else old.unlink()
    if folder or not _link(target, old):
        target.replace(old)


def _link(target: Path, old: Path) -> bool:
    try:
        os.link(target, old, follow_symlinks=False)
    except (OSError, NotImplementedError):
        return False
    return True


def _take_back_all(moves: Moves) -> None:
    for new, target, old in reversed(_places(moves)):
        if not os.path.lexists(new) and os.path.lexists(target):
            target.replace(new)
        if os.path.lexists(old) and not os.path.lexists(target):
            old.replace(target)

"""Files that have an end: not pipes, on which reading may wait for ever, nor devices."""

from __future__ import annotations

import stat
from pathlib import Path

from calibrant.errors import CalibrantError, Problem


def is_file(path: str | Path) -> bool:
    """Whether there is such a file; False also for a name that the system refuses to look up, as a long one."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: str | Path) -> bool:
    """Whether there is such a folder, likewise."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def require_regular(path: Path, kind: type[CalibrantError]) -> None:
    """Raises an error of this kind for a pipe, socket or device, none for what is not there."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise kind(Problem("is a pipe or device", file=str(path), allowed="a file", hint="save it to a file first"))

"""Where numba keeps the compiled loops between runs: the first folder that can be written to.

Beside the code where that is allowed, as numba itself does; else in the user's cache folder; else in one of the
temporary folder that belongs to the user alone. ``NUMBA_CACHE_DIR`` goes before all of them.
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CODE = Path(__file__).with_name("kernels_numba.py")


@functools.cache
def compiled_before() -> bool:
    """Whether the loops as they are now have been compiled on this machine."""
    folder = _folder()
    found = folder.rglob(f"{_CODE.stem}.*.nbi") if folder is not None and folder.is_dir() else ()
    return any(path.stat().st_mtime >= _CODE.stat().st_mtime for path in found)


@contextmanager
def cache_folder() -> Iterator[None]:
    """Let what is compiled inside be kept in that folder, and nothing else.

    Raises
    ------
    ImportError : numba is not installed.
    """
    from numba.core import config

    before = config.CACHE_DIR
    folder = _folder()
    if not before and folder is not None and folder != _beside():
        config.CACHE_DIR = str(folder)
    try:
        yield
    finally:
        config.CACHE_DIR = before


@functools.cache
def _folder() -> Path | None:
    if os.environ.get("NUMBA_CACHE_DIR"):
        return Path(os.environ["NUMBA_CACHE_DIR"])
    for folder in (_beside(), _of_user(), _temporary()):
        if _usable(folder):
            return folder
    return None


def _beside() -> Path:
    return _CODE.parent / "__pycache__"


def _of_user() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or "~/.cache"
    return Path(base).expanduser() / "calibrant"


def _temporary() -> Path:
    return Path(tempfile.gettempdir()) / f"calibrant-{getattr(os, 'getuid', lambda: 'cache')()}"


def _usable(folder: Path) -> bool:
    """Whether files can be made there, by us and, as compiled code is loaded from there, by nobody else."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        state = folder.stat()
    except (OSError, RuntimeError):
        return False
    return (
        not hasattr(os, "getuid") or folder == _beside() or (state.st_uid == os.getuid() and not state.st_mode & 0o022)
    )

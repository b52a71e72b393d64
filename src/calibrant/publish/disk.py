"""Flushing to disk, so that what has a name also has its content after the power fails."""

from __future__ import annotations

import errno
import os
from pathlib import Path

CANNOT_FLUSH = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}


def write_flushed(path: Path, content: bytes) -> None:
    """Write a file in one step: it is not there, or whole."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    with unfinished.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    unfinished.replace(path)
    flush_folder(path.parent)


def flush_folder(path: Path) -> None:
    """Flush the names in a folder; not on Windows, and not on file systems that cannot."""
    if os.name != "nt":
        _flush(path)


def flush_tree(path: Path) -> None:
    """Flush a file, or a folder with everything below it."""
    if path.is_symlink():
        return
    if not path.is_dir():
        _flush(path)
        return
    for entry in path.iterdir():
        flush_tree(entry)
    flush_folder(path)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in CANNOT_FLUSH:
            raise
    finally:
        os.close(descriptor)

"""A file that is always complete: written under another name, then renamed."""

from __future__ import annotations

import os
from pathlib import Path

from calibrant.errors import OutputError, Problem


def write_file(path: Path, content: bytes) -> None:
    """Write a file and the folders above it; it holds the old or the new content, never a part.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            unfinished.write_bytes(content)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(Problem(f"cannot be written: {error.strerror or error}", file=str(path))) from None

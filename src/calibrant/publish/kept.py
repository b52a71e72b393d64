"""Files that a run reads are not replaced by what it writes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from calibrant.errors import OutputError, Problem


@dataclass(frozen=True)
class Kept:
    """A file or folder that is read.

    Parameters
    ----------
    path : Path
        It need not exist.
    endings : tuple[str, ...]
        Where it is a folder, how the names of the files in it end that are read; all of them by default.
    """

    path: Path
    endings: tuple[str, ...] = ("",)

    def is_replaced_by(self, written: Path) -> bool:
        """Whether it would be lost, or a part of it, if a file or folder were written there."""
        try:
            if not (written.exists() and self.path.exists()):
                return False
            new, own = written.resolve(), self.path.resolve()
            if written.samefile(self.path) or own.is_relative_to(new):
                return True
            return written.is_file() and new.is_relative_to(own) and new.name.lower().endswith(self.endings)
        except (OSError, RuntimeError, ValueError):  # who reads or writes it says so
            return False


def refuse_replacing(written: Iterable[Path], kept: Iterable[Kept]) -> None:
    """Check that no file or folder to be written is one that is read.

    Raises
    ------
    OutputError
        Some are; names all of them.
    """
    kept = tuple(dict.fromkeys(kept))
    problems = [
        Problem(
            f"would replace {str(read.path)!r}, which is read",
            file=str(path),
            hint="choose another folder or name for what is written",
        )
        for path in written
        for read in kept
        if read.is_replaced_by(path)
    ]
    if problems:
        raise OutputError(*problems)

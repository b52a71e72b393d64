"""Running the command in this process, as a shell would see it."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path

from calibrant.cli import main


@dataclass(frozen=True)
class Outcome:
    """What a shell sees of one run."""

    code: int
    out: str
    err: str


def run(*arguments: object) -> Outcome:
    """Run ``calibrant ARGUMENTS``; anything but SystemExit comes out as it is."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as done:
            code = done.code or 0
    return Outcome(int(code), out.getvalue(), err.getvalue())


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder: relative path -> content, None for folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }

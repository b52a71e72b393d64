"""Rows that child processes make: one that hangs or dies costs its own row, and rows made before are kept."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def rows(
    command: Sequence[str], names: Sequence[str], seconds: int, together: int = 1, known: Path | None = None
) -> Iterator[Row]:
    """A row for every name, in order.

    Parameters
    ----------
    command : of a child, which calls :func:`answer`.
    seconds : that one name may take.
    together : how many names a child is given.
    known : JSON lines; rows of names that it has are taken from there, others are added.
    """
    have = {}
    if known is not None and known.exists():
        have = {row["name"]: row for row in map(json.loads, known.read_text().splitlines())}
    waiting = [name for name in names if name not in have]
    made = _made(command, waiting, seconds, together)
    for name in names:
        if name in have:
            yield have[name]
            continue
        row = {"name": name, **next(made)}
        if known is not None:
            with known.open("a") as file:
                file.write(json.dumps(row) + "\n")
        yield row


def _made(command: Sequence[str], waiting: Sequence[str], seconds: int, together: int) -> Iterator[Row]:
    waiting = list(waiting)
    while waiting:
        given = waiting[:together]
        for row in _child(command, given, seconds):
            waiting.pop(0)
            yield row


def _child(command: Sequence[str], names: Sequence[str], seconds: int) -> Iterator[Row]:
    """The rows of one child, which is asked for one at a time; the last says why where it ended early."""
    read, write = os.pipe()
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1"}
    with tempfile.TemporaryFile() as said, os.fdopen(read) as rows:
        child = subprocess.Popen(
            [*command, "--answer", str(write)],
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
            pass_fds=(write,),
            env=environment,
            text=True,
        )
        os.close(write)
        assert child.stdin is not None
        try:
            for name in names:
                child.stdin.write(f"{name}\n")
                child.stdin.flush()
                if not select.select([rows], [], [], seconds)[0]:
                    yield {"problem": f"more than {seconds} s"}
                    return
                line = rows.readline()
                if not line:
                    said.seek(0)
                    lines = [line for line in said.read().decode(errors="replace").splitlines() if line.strip()]
                    yield {"problem": f"exit code {child.wait()}: {' / '.join(lines[-2:])}"}
                    return
                yield json.loads(line)
        finally:
            child.kill()
            child.wait()


def answer(descriptor: int, row: Callable[[str], Row]) -> None:
    """In a child: send the row of every name that is asked for."""
    with os.fdopen(descriptor, "w", buffering=1) as rows:
        for line in sys.stdin:
            rows.write(json.dumps(row(line.rstrip("\n"))) + "\n")

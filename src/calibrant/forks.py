"""Whether this process is a fork of one in which TensorFlow ran: its threads are not there, and it waits for them."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from calibrant.errors import DependencyError, Problem

_THREADS = Path("/proc/self/task")
_ran_in: set[int] = set()  # numbers of processes


def note_use() -> None:
    """TensorFlow runs in this process.

    Raises
    ------
    DependencyError
        It was forked from one in which it ran before.
    """
    refuse_fork()
    _ran_in.add(os.getpid())


def refuse_fork() -> None:
    """Refuse to work in a fork of a process in which TensorFlow ran.

    Raises
    ------
    DependencyError
        This is one.
    """
    if _ran_in - {os.getpid()}:
        hint = 'start processes with multiprocessing.get_context("spawn"), or fork before TensorFlow is used'
        raise DependencyError(Problem("TensorFlow was in use when this process was forked", hint=hint))


def _look_for_threads() -> None:
    """Before a fork: TensorFlow's threads tell whether it was used, by whomever."""
    if "tensorflow" not in sys.modules:
        return
    with suppress(OSError):
        names = [(thread / "comm").read_text() for thread in _THREADS.iterdir()]
        if any(name.startswith("tf_") for name in names):
            _ran_in.add(os.getpid())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_look_for_threads)

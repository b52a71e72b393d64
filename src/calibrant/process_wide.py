"""What belongs to the whole process and is changed for a time: by one thread after the other.

Two threads that change the level of a log and put back what they found could leave it changed for good.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ENDING_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGXCPU") if hasattr(signal, name))
"""Those that ask a process to end, as far as the system has them; that of the keyboard is Python's own affair."""
_lock = threading.RLock()


@contextmanager
def alone() -> Iterator[None]:
    """No other thread is in here meanwhile."""
    with _lock:
        yield


def _renew() -> None:
    global _lock  # noqa: PLW0603 - a forked process lacks the thread that may have held it
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)

"""SIGTERM, the SIGHUP of a terminal that closes and the SIGXCPU of a time limit save what SIGINT saves."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from calibrant.process_wide import ENDING_SIGNALS

_SAME = 0.5  # seconds within which two are one that came twice, to the process and to its group


@contextmanager
def ending_signals_interrupt() -> Iterator[None]:
    """The first such signal raises ``KeyboardInterrupt`` inside, and ends the process when that has been dealt with.

    A second one ends it at once. Nothing changes for a signal that is handled or ignored already, as SIGHUP is with
    ``nohup``, or in another thread than the first one.
    """
    in_main = threading.current_thread() is threading.main_thread()
    taken = [each for each in ENDING_SIGNALS if in_main and signal.getsignal(each) is signal.SIG_DFL]
    received: list[int] = []
    since = 0.0

    def interrupt(number: int, frame: object) -> None:
        nonlocal since
        if not received:
            received.append(number)
            since = time.monotonic()
            raise KeyboardInterrupt
        if time.monotonic() - since >= _SAME:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    for each in taken:
        signal.signal(each, interrupt)
    try:
        yield
    finally:
        for each in taken:
            signal.signal(each, signal.SIG_DFL)
        if received:
            os.kill(os.getpid(), received[0])

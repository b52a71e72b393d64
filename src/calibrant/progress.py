"""How work reports what it does and how far it is, without knowing whether a terminal is there."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

LOG = logging.getLogger("calibrant")
"""What every user should know at the level INFO; what is done, step by step, at DEBUG, shown with ``-v``."""

PATIENCE = 20.0
"""Seconds after which a step that shows no progress says what it does."""

ProgressFn = Callable[[Iterable[Any], str, "int | None"], Iterable[Any]]
"""``track(items, description, total)`` hands the items on, one by one, and shows how many have passed."""


def no_progress(items: Iterable[Any], description: str, total: int | None) -> Iterator[Any]:
    """Hand the items on and show nothing."""
    yield from items


@contextmanager
def only_warnings() -> Iterator[None]:
    """Leave out what every user should know once: for runs among many that a user has not asked for one by one."""
    level = LOG.level
    if level == logging.INFO:
        LOG.setLevel(logging.WARNING)
    try:
        yield
    finally:
        LOG.setLevel(level)


class Stopwatch:
    """Seconds spent in each named step, which are logged too."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str, working: str = "") -> Iterator[None]:
        """Count the time of a block towards a step.

        Parameters
        ----------
        name : str
            Of the step.
        working : str
            What is logged of one that takes long and shows no progress.
        """
        start = time.perf_counter()
        word = threading.Timer(PATIENCE, LOG.info, ("%s …", working))
        word.daemon = True
        if working:
            word.start()
        try:
            yield
        finally:
            word.cancel()
            seconds = time.perf_counter() - start
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds
            LOG.debug("%s: %.2f s", name, seconds)

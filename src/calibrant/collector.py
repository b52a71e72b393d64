"""Python's garbage collector, and the million objects of TensorFlow that never go."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

HAS_OWN_PROCESS = False
"""Set by commands and workers: what is in memory once TensorFlow is loaded stays until the process ends."""


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep it from going through modules time and again while they load, and also later in a process of our own."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            if HAS_OWN_PROCESS:
                gc.freeze()
            gc.enable()

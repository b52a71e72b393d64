"""Python's garbage collector, and the million objects of TensorFlow that never go."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

HAS_OWN_PROCESS = False
"""Set by commands and workers: what is in memory once TensorFlow is loaded stays until the process ends."""


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep it from going through objects time and again while many are made that all stay."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def never_collected() -> Iterator[None]:
    """Keep it from what is loaded meanwhile, and in a process of our own for good."""
    with collector_paused():
        yield
        if HAS_OWN_PROCESS:
            gc.freeze()

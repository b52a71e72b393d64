"""Giving memory that has been freed back to the system."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable


def trim_heap() -> None:
    """Give back what the C library holds free between what is in use; does nothing where it knows no such call.

    Tensors of many sizes come and go, in several threads, and break the free memory up: a process that runs for long
    would hold half as much again as it needs. Takes some milliseconds.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # macOS, musl; no library by itself; Windows
        return None

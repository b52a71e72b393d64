"""Returning freed memory to the system."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable


def trim_heap() -> None:
    """Return the C library's free memory to the system; does nothing if the library cannot.

    Tensors of many sizes, allocated and freed by several threads, fragment the heap: without this, a long run holds
    half as much memory again as it needs. Takes some milliseconds.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # macOS, musl; no library by itself; Windows
        return None
    return trim

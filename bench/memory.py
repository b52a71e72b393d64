"""What a process holds, in megabytes, and running one function in a process of its own (Linux only)."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from calibrant.calibration.memory import trim_heap

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function of a module gives back in a fresh process, which ends with it."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def start_watching() -> float | None:
    """Give freed memory back, forget the peak so far, and say what the process holds now; None where that is unknown.

    Without giving it back, what loading a model has freed would be used again unseen.
    """
    if not RESET.exists():
        return None
    trim_heap()
    RESET.write_text("5")
    return resident("VmRSS")


def resident(entry: str = "VmHWM") -> float | None:
    """Memory in use, ``VmRSS``, or its peak, ``VmHWM``, since the process or :func:`start_watching` began."""
    if not STATUS.exists():
        return None
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith(entry))
    return int(line.split()[1]) / 1024

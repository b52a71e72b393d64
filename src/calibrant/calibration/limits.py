"""How many processes and threads may be asked for: more than any machine has use for, fewer than end it."""

from __future__ import annotations

from calibrant.errors import DataError, Problem

MOST_WORKERS = 128
MOST_THREADS = 512


def check_workers(number: int) -> None:
    """Raises DataError unless this is a number of processes, 1 … MOST_WORKERS."""
    _check("workers", number, 1, MOST_WORKERS)


def check_threads(number: int) -> None:
    """Raises DataError unless this is a number of threads, 0 … MOST_THREADS."""
    _check("threads", number, 0, MOST_THREADS)


def _check(name: str, value: int, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise DataError(Problem(f"{name} is {value!r}", allowed=f"a whole number, {least} … {most}"))

"""Options that say who runs the calibration data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from calibrant.calibration.limits import MOST_THREADS, MOST_WORKERS


def parallel_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command."""
    for option in (
        click.option(
            "--threads",
            type=click.IntRange(0, MOST_THREADS),
            default=0,
            help=f"Threads that compute in each process, at most {MOST_THREADS}; 0: all.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(1, MOST_WORKERS),
            default=1,
            help=f"Processes that share the batches, at most {MOST_WORKERS}; the model is the same.",
        ),
    ):
        command = option(command)
    return command

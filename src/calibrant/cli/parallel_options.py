"""Options that say who runs the calibration data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def parallel_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command."""
    for option in (
        click.option("--threads", type=int, default=0, help="Threads that compute in each process; 0: all."),
        click.option(
            "--workers", type=int, default=1, help="Processes that share the batches; the result is the same."
        ),
    ):
        command = option(command)
    return command

"""What to do next, said at the end of a command."""

from __future__ import annotations

import click


def say_next(text: str) -> None:
    """Say it, unless errors and results alone are asked for (``-q``)."""
    if not click.get_current_context().obj["quiet"]:
        click.echo(f"next: {text}")

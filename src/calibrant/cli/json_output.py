"""Output for programs: what a command found, or what was wrong, as one JSON document on standard output."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import click


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--json`` to a command."""
    return click.option("--json", "as_json", is_flag=True, help="Machine-readable output, errors included.")(command)


def print_json(value: Any) -> None:
    """Print a value; JSON has no infinity, which becomes null."""
    click.echo(json.dumps(_plain(value), indent=2))


def print_problems(problems: list[dict[str, Any]]) -> None:
    """Print what was wrong."""
    print_json({"problems": problems})


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

"""What to do next, said at the end of a command."""

from __future__ import annotations

import shlex

import click


def say_next(text: str) -> None:
    """Say it, unless errors and results alone are asked for (``-q``)."""
    if not click.get_current_context().obj["quiet"]:
        click.echo(f"next: {text}")


def model_words() -> str:
    """The options of this command that say how its model is read, as they were given, with a space before each."""
    given = click.get_current_context().params
    words = [f"--{name} {','.join(given[name])}" for name in ("inputs", "outputs") if given.get(name)]
    words += [f"--set {shlex.quote(f'{name}={value}')}" for name, value in (given.get("constants") or {}).items()]
    words += [f"--signature {shlex.quote(given['signature'])}"] if given.get("signature") else []
    words += ["--trust-model"] if given.get("trust_model") else []
    return "".join(f" {word}" for word in words)

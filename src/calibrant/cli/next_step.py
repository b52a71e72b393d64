"""What to do next, said at the end of a command."""

from __future__ import annotations

import os
import shlex

import click

from calibrant.cli.data_options import ABOUT_FILES
from calibrant.report.option_words import ABOUT_MODEL, option_words


def say_next(text: str) -> None:
    """Say it, unless errors and results alone are asked for (``-q``)."""
    if not click.get_current_context().obj["quiet"]:
        click.echo(f"next: {text}")


def word(given: str) -> str:
    """What was given, as one word for a shell."""
    return shlex.quote(given)


def place(given: str | os.PathLike[str]) -> str:
    """A path as one word for a shell that no command takes for an option."""
    path = os.fspath(given)
    return word(f"./{path}" if path.startswith("-") else path)


def model_words() -> str:
    """The options of this command that say how its model is read, as they were given, with a space before each."""
    given = click.get_current_context().params
    words = option_words({name: given.get(name) for name in (*ABOUT_MODEL, "trust_model")})
    return f" {words}" if words else ""


def data_words() -> str:
    """The options of this command that say how its data are read, as they were given, with a space before each."""
    return _words_of("batch_size", "shuffle", *ABOUT_FILES)


def other_data_words() -> str:
    """Those of :func:`data_words` that data of the same kind need as well: not an order, which labels cannot follow."""
    return _words_of("batch_size", *ABOUT_FILES)


def _words_of(*names: str) -> str:
    given = click.get_current_context().params
    return "".join(
        f" --{name.replace('_', '-')} {word(str(given[name]))}" for name in names if given.get(name) is not None
    )

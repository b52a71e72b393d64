"""The ``calibrant`` command: finds the sub-command, turns errors into one clear text and exit code 2."""

from __future__ import annotations

import functools
import importlib
import logging
import os
import sys
from typing import NoReturn

import click

from calibrant.errors import CalibrantError
from calibrant.progress import LOG

COMMANDS = {
    "check": "Check a configuration file, and show what it does to a model.",
    "inspect": "List inputs, outputs, quantizable layers and fusions of a model.",
    "quantize": "Quantize a model.",
    "observe": "Observe some of the calibration batches, for merging.",
    "merge": "Quantize a model with what was observed in parts.",
    "lower": "Turn a deployable model for Ascend devices into stock TensorFlow operations.",
    "evaluate": "Compare models on labelled data.",
    "tune": "Search for a configuration that keeps the accuracy.",
    "verify": "Hold the files of one result against each other.",
}


_LEVELS = {(False, False): logging.INFO, (False, True): logging.DEBUG}
_LEVELS |= {(True, verbose): logging.WARNING for verbose in (False, True)}


class _ToStandardError(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        click.echo(self.format(record), err=True)


LOG.handlers, LOG.propagate = [_ToStandardError()], False


def _take_verbosity(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    settings = dict(context.obj or {"quiet": False, "verbose": False})
    settings[parameter.name] |= wanted
    context.obj = settings
    logging.basicConfig(format="%(message)s")
    logging.getLogger().setLevel(logging.ERROR if settings["quiet"] else logging.WARNING)
    LOG.setLevel(_LEVELS[settings["quiet"], settings["verbose"]])


def _with_verbosity(command: click.Command) -> click.Command:
    """Let a command take ``-q`` and ``-v``, so that they may stand in front of its name or behind it."""
    for names, help_text in (
        (("-v", "--verbose"), "Say more about what is done."),
        (("-q", "--quiet"), "Only errors and the requested results."),
    ):
        click.option(*names, is_flag=True, expose_value=False, callback=_take_verbosity, help=help_text)(command)
    return command


@functools.cache
def _command(name: str) -> click.Command:
    return _with_verbosity(getattr(importlib.import_module(f"calibrant.cli.{name}"), name))


class Commands(click.Group):
    """Sub-commands that are imported only when they are run, so that ``--help`` is quick."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        return _command(name) if name in COMMANDS else None

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _show_version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    from calibrant.version import __version__

    click.echo(f"calibrant {__version__}")
    context.exit()


@_with_verbosity
@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
def cli() -> None:
    """INT8 post-training quantization of TensorFlow graphs, steered by one configuration file."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Entry point; exits 0 when all went well, 2 for bad input, 130 when interrupted."""
    try:
        code = cli.main(arguments, prog_name="calibrant", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except CalibrantError as error:
        count = len(error.problems)
        click.echo(f"error: {count} problems\n{error}" if count > 1 else f"error: {error}", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted; the output folder holds one whole result or none", err=True)
        sys.exit(130)
    except BrokenPipeError:  # the reader has seen enough; what is left in the buffer goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)

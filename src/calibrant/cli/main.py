"""The ``calibrant`` command: finds the sub-command, turns errors into one clear text and exit code 2."""

from __future__ import annotations

import functools
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

import click

from calibrant import collector
from calibrant.cli import guard
from calibrant.cli.json_output import print_problems
from calibrant.cli.surroundings import abandon_output, exhausted, is_output_broken, open_standard_streams, shortage
from calibrant.errors import CalibrantError, Problem
from calibrant.progress import LOG

COMMANDS = {
    "check": "Check a configuration file, and show what it does to a model.",
    "inspect": "List inputs, outputs, quantizable layers and fusions of a model.",
    "quantize": "Quantize a model.",
    "observe": "Observe some of the calibration batches, for merging.",
    "merge": "Quantize a model with what was observed in parts.",
    "lower": "Turn a deployable model for Ascend devices into stock TensorFlow operations.",
    "init": "Write a configuration file for a model, with the defaults and its layers.",
    "compare": "Compare two results: configuration, scales and offsets, what each layer loses.",
    "evaluate": "Compare models on labelled data.",
    "tune": "Search for a configuration that keeps the accuracy.",
    "verify": "Compare the files of one result.",
    "golden": "Write what is needed to check a LiteRT file on a device.",
    "calibration": "Calibrate a network as amct_tensorflow does: .bin data or an evaluator script.",
    "convert": "Write models from scales that are known: of FakeQuant nodes or a record file.",
}

CRASHED = 70
"""Exit code of a defect, so that 1 means what the commands say."""

READER_GONE = 141
"""Exit code where the reader of a pipe has gone before everything was printed, as a shell shows it for other tools."""


class _ReaderGone(Exception):
    """Standard output was a pipe, and is closed."""


_LEVELS = {(False, False): logging.INFO, (False, True): logging.DEBUG}
_LEVELS |= {(True, verbose): logging.WARNING for verbose in (False, True)}


class _ToStandardError(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        click.echo(self.format(record), err=True)


Command = TypeVar("Command", bound=click.Command)

LOG.handlers, LOG.propagate = [_ToStandardError()], False


def _take_verbosity(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    settings = dict(context.obj or {"quiet": False, "verbose": False})
    settings[parameter.name] |= wanted
    context.obj = settings
    logging.basicConfig(format="%(message)s")
    logging.getLogger().setLevel(logging.ERROR if settings["quiet"] else logging.WARNING)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # Keras imports it, and it misses a home to write to
    LOG.setLevel(_LEVELS[settings["quiet"], settings["verbose"]])


def _with_verbosity(command: Command) -> Command:
    """Let a command take ``-q`` and ``-v``, so that they may come before or after its name."""
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

    names = tuple(COMMANDS)

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except BrokenPipeError:  # click would exit with 1, which is a verdict
            raise _ReaderGone from None

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.names)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        return _command(name) if name in self.names else None

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.names])


class AmctCommands(Commands):
    """Those of the second command, ``amct_tensorflow``."""

    names = ("calibration", "convert")


def _show_version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    from calibrant.version import __version__

    click.echo(f"calibrant {__version__}")
    context.exit()


def _group(kind: type[Commands], text: str) -> Commands:
    version = click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_show_version,
        help="Show the version.",
    )
    settings = {"help_option_names": ["-h", "--help"]}
    return _with_verbosity(kind(params=[version], context_settings=settings, help=text))


cli = _group(Commands, "INT8 post-training quantization of TensorFlow graphs, steered by one configuration file.")
amct_cli = _group(AmctCommands, "The shell commands of amct_tensorflow.")


def _wants_json(arguments: list[str] | None) -> bool:
    return "--json" in (sys.argv[1:] if arguments is None else arguments)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Entry point of ``calibrant``; exit codes: 0 done, 2 bad input, 3 a format is missing, 70 a defect, 130, 141."""
    _run(cli, "calibrant", arguments)


def amct_tensorflow(arguments: list[str] | None = None) -> NoReturn:
    """Entry point of ``amct_tensorflow``, likewise."""
    _run(amct_cli, "amct_tensorflow", arguments)


def _run(group: Commands, name: str, arguments: list[str] | None) -> NoReturn:
    try:
        open_standard_streams()
        collector.HAS_OWN_PROCESS = arguments is None
        if arguments is None:
            os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever the user trains with; workers inherit it
        if arguments is None and guard.possible():
            guard.fork(_died, saves=any(word.startswith("--resume") for word in sys.argv))
        _check_characters(arguments or ())
        try:
            code = group.main(arguments, prog_name=name, standalone_mode=False)
            sys.stdout.flush()
        finally:
            guard.settle_interrupts()
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        shown = _in_our_words(error)
        _refuse(arguments, [{"message": shown.format_message()}], shown.show)
    except CalibrantError as error:
        report = error.report()
        _refuse(arguments, [problem.as_dict() for problem in error.problems], lambda: _say(report))
    except (KeyboardInterrupt, click.Abort):
        _say(guard.INTERRUPTED)
        guard.leave(130)
    except (BrokenPipeError, _ReaderGone):
        abandon_output()
        sys.exit(READER_GONE)
    except (OSError, MemoryError) as error:
        if is_output_broken():
            abandon_output()
        message = shortage(error)
        _refuse(arguments, [{"message": message}], lambda: _say(f"error: {message}"))
    except Exception as error:  # a crash must not look like what exit code 1 means
        short = exhausted(str(error)) if isinstance(error, RuntimeError) else None
        if short is not None:
            report = CalibrantError(short).report()
            _refuse(arguments, [short.as_dict()], lambda: _say(report))
        traceback.print_exc()
        message = f"this is a defect of calibrant, please report it: {type(error).__name__}: {error}"
        _refuse(arguments, [{"message": message}], lambda: _say(f"error: {message}"), CRASHED)


def _in_our_words(error: click.ClickException) -> click.ClickException:
    """The error of an option that other tools have for calibration data; click proposes what is spelled alike."""
    if not isinstance(error, click.NoSuchOption) or not error.option_name.startswith("--calib") or error.ctx is None:
        return error
    if not any("--data" in parameter.opts for parameter in error.ctx.command.params):
        return error
    return click.UsageError(f"No such option {error.option_name!r}. Did you mean '--data'?", error.ctx)


def _check_characters(arguments: Iterable[str]) -> None:
    """Raises an error for NUL, which only callers from Python can give."""
    for argument in arguments:
        if "\0" in argument:
            raise CalibrantError(Problem(f"{argument!r} holds the character NUL, which no path or name may have"))


def _died(ended: str, said: str) -> NoReturn:
    """Say that the work ended without an error of its own, by a signal."""
    problem = exhausted(said) or _death(ended, said)
    _refuse(None, [problem.as_dict()], lambda: _say(CalibrantError(problem).report()))


def _death(ended: str, said: str) -> Problem:
    """What may have ended it."""
    hint = None
    if ended == "SIGKILL":
        message = "the system ended the process (SIGKILL); memory may have run out: smaller batches or fewer --workers"
    elif ended == "SIGBUS":
        message = (
            "the process was ended (SIGBUS): a data file or the model became shorter while it was read, or TensorFlow "
            "cannot take this model" + (f": {said}" if said else "")
        )
    elif "bad_alloc" in said:
        message = shortage(MemoryError())
    else:
        message = f"TensorFlow ended the process ({ended}) on this model" + (f": {said}" if said else "")
        if {"verify", "golden"} & set(sys.argv[1:3]):  # a switch may stand before the command
            hint = "the .tflite may be damaged: remove it, and write it anew with calibrant quantize … --export tflite"
        elif os.environ.get("TF_ENABLE_ONEDNN_OPTS") != "0":
            hint = "try TF_ENABLE_ONEDNN_OPTS=0 in the environment: TensorFlow's oneDNN kernels fail on some models"
    return Problem(message, file=guard.file_among(sys.argv[1:]), hint=hint)


def _refuse(
    arguments: list[str] | None, problems: list[dict[str, Any]], show: Callable[[], None], code: int = 2
) -> NoReturn:
    with suppress(OSError):  # where even that cannot be printed, the exit code says it
        if _wants_json(arguments):
            print_problems(problems)
            sys.stdout.flush()
        else:
            show()
    sys.exit(code)


def _say(text: str) -> None:
    with suppress(OSError):
        click.echo(text, err=True)

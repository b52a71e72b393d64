"""The evaluator that a script defines. What goes wrong in the script is one error with its line."""

from __future__ import annotations

import runpy
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from calibrant.amct.old_names import scripts_environment
from calibrant.errors import CalibrantError, ConfigError, Problem
from calibrant.graph.running.run import reason_of
from calibrant.progress import LOG


@contextmanager
def evaluator_of(script: Path) -> Iterator[Any]:
    """The one object of a script that has ``calibration``; the script's environment lasts as long as the block.

    Parameters
    ----------
    script : Path
        A file of Python.

    Raises
    ------
    ConfigError
        There is no such file, it cannot be run, or it defines no such object or several.
    """
    if not script.is_file():
        raise ConfigError(Problem("there is no such script", file=str(script)))
    with scripts_environment():
        with failing_in(script, "cannot be run"):
            values = {id(value): value for value in runpy.run_path(str(script)).values()}.values()
            evaluators = [value for value in values if not isinstance(value, type) and _calibrates(value)]
        if len(evaluators) != 1:
            what = f"defines {len(evaluators)} objects" if evaluators else "defines no object"
            allowed = "exactly one, evaluator = Evaluator() for example"
            raise ConfigError(Problem(f"{what} with calibration(graph, outputs)", file=str(script), allowed=allowed))
        yield evaluators[0]


@contextmanager
def failing_in(script: Path, what: str) -> Iterator[None]:
    """Make one error of what a script raises in this block, but for an interrupt and a reader of its output that left.

    Parameters
    ----------
    script : Path
        The script.
    what : str
        What the error says in front of the reason.

    Raises
    ------
    ConfigError
        The block has raised something, or called ``sys.exit``.
    """
    try:
        yield
    except (CalibrantError, BrokenPipeError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        LOG.debug("%s", "".join(traceback.format_exception(error)).rstrip())
        reason = f"{type(error).__name__}: {_text_of(error)}".removesuffix(": ")
        hint = "correct the script; -v shows the traceback"
        problem = Problem(f"{what}: {reason}", file=str(script), line=_line_of(error, script), hint=hint)
        raise ConfigError(problem) from error


def _text_of(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return error.msg
    return reason_of(error) if str(error).strip() else ""


def _line_of(error: BaseException, script: Path) -> int | None:
    """The last line of the script that was at work, or the one that is no Python."""
    if isinstance(error, SyntaxError) and error.filename == str(script):
        return error.lineno or None
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if frame.filename == str(script)), None)


def _calibrates(value: Any) -> bool:
    return callable(getattr(value, "calibration", None))

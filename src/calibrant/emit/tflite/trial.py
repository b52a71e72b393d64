"""Running a file in a process of its own, as a file that is wrong may end the process that runs it."""

from __future__ import annotations

import faulthandler
import os
import pickle
import re
import signal
import tempfile
import time
from collections.abc import Collection, Mapping
from typing import IO

import numpy as np

from calibrant.child_process import end_with_parent
from calibrant.emit.tflite.conversion.convert import OTHERWISE
from calibrant.emit.tflite.simulation.operator_check import run_file, tensors_of_run
from calibrant.errors import ModelError, OutputError, Problem

SECONDS = 600
RUNS = 2
"""How often a file is run whose process is killed from outside, as for want of memory: that is not of the file."""
UNWRITTEN = 100
"""Exit code of a process that cannot write its answer, to which the number of the system's error is added."""
REFUSAL = re.compile(r"(?:\S+\.(?:cc|h)(?::\d+)?:? )?(?P<reason>.*?)\.?\s*Node number \d+ \((?P<operator>\w+)\) failed")


class TrialError(ModelError):
    """A file that does not run.

    Attributes
    ----------
    reason : str
        What happened, in a few words.
    """

    def __init__(self, reason: str, source: str, hint: str = OTHERWISE):
        super().__init__(Problem(f"the LiteRT file that was made {reason}", file=source, hint=hint))
        self.reason = reason


def tried(
    content: bytes,
    fed: Mapping[int, np.ndarray],
    wanted: Collection[int],
    delegate: bool,
    source: str,
    keep: bool = True,
) -> dict[int, np.ndarray]:
    """Tensors after one run, as :func:`calibrant.emit.tflite.simulation.operator_check.run_file`.

    The process is forked: interpreters have threads of their own, and nothing has to be loaded again. Where a system
    cannot fork, the file is run in this one.

    Raises
    ------
    TrialError
        The interpreter refuses the file, or ends the process.
    OutputError
        The folder for temporary files cannot be written to, or the process is killed from outside.
    """
    if not hasattr(os, "fork"):
        return run_file(content, fed, wanted, delegate, keep)
    for _ in range(RUNS):
        code, found, in_time = _forked(content, fed, wanted, delegate, keep)
        if code != -signal.SIGKILL or not in_time:
            break
    else:
        message, hint = "the process that runs the LiteRT file was killed", "free memory, or use a larger machine"
        raise OutputError(Problem(message, file=source, hint=hint))
    if code > UNWRITTEN:
        raise _unwritable(os.strerror(code - UNWRITTEN))
    how = "XNNPACK" if delegate else "the built-in kernels"
    if not in_time:
        raise TrialError(f"does not end in {SECONDS:g} s with {how}", source)
    if isinstance(found, str):
        raise TrialError(f"does not run with {how}: {refusal(found)}", source)
    if found is None or code:
        reason = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        raise TrialError(f"ends the process with {how} ({reason})", source)
    return found


def _forked(
    content: bytes, fed: Mapping[int, np.ndarray], wanted: Collection[int], delegate: bool, keep: bool
) -> tuple[int, dict[int, np.ndarray] | str | None, bool]:
    """The exit code of a process that runs a file, what it has written, and whether it has ended in time."""
    parent = os.getpid()
    with _temporary_file() as answer:
        child = os.fork()
        if not child:
            end_with_parent(parent)
            _run_and_exit(content, fed, wanted, delegate, keep, answer)
        status, in_time = _wait(child)
        found = None if status else _answered(answer)
    return os.waitstatus_to_exitcode(status), found, in_time


def _answered(answer: IO[bytes]) -> dict[int, np.ndarray] | str:
    """The tensors that a process has written, or what the interpreter said."""
    found: dict[int, np.ndarray] = {}
    size = answer.seek(0, os.SEEK_END)
    answer.seek(0)
    while answer.tell() < size:
        read = pickle.load(answer)
        if isinstance(read, str):
            return read
        found[read[0]] = read[1]
    return found


def _temporary_file() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise _unwritable(error.strerror or str(error)) from None


def _unwritable(reason: str) -> OutputError:
    found = f"the folder for temporary files cannot be written to: {reason}"
    hint = "make room there, or name another folder in the environment variable TMPDIR"
    return OutputError(Problem(found, file=tempfile.tempdir, hint=hint))


def refusal(text: str) -> str:
    """What an interpreter said, as the operator and the reason alone."""
    said = REFUSAL.match(text)
    return f"{said['operator']}: {said['reason']}" if said else text


def _run_and_exit(
    content: bytes,
    fed: Mapping[int, np.ndarray],
    wanted: Collection[int],
    delegate: bool,
    keep: bool,
    answer: IO[bytes],
) -> None:
    try:
        faulthandler.disable()
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        tensors = tensors_of_run(content, fed, wanted, delegate, keep)
        try:
            try:
                for tensor in tensors:  # one by one: those of a volume are gigabytes together
                    pickle.dump(tensor, answer, protocol=5)
            except (ValueError, RuntimeError) as error:
                pickle.dump(str(error).strip().splitlines()[0], answer)
            answer.flush()
        except OSError as error:
            os._exit(UNWRITTEN + (error.errno or 0))
        os._exit(0)
    finally:
        os._exit(1)


def _wait(child: int) -> tuple[int, bool]:
    """How a process ends, and whether in time; that in which both were stopped does not count."""
    left, last = float(SECONDS), time.monotonic()
    while left > 0:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status, True
        time.sleep(0.005)
        now = time.monotonic()
        left -= min(now - last, 1.0)
        last = now
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1], False

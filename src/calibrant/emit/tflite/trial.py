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
from calibrant.emit.tflite.convert import OTHERWISE
from calibrant.emit.tflite.operator_check import run_file
from calibrant.errors import ModelError, Problem

SECONDS = 600
REFUSAL = re.compile(r"(?:\S+\.(?:cc|h)(?::\d+)?:? )?(?P<reason>.*?)\.?\s*Node number \d+ \((?P<operator>\w+)\) failed")


class TrialError(ModelError):
    """A file that does not run.

    Attributes
    ----------
    reason : str
        What happened, in a few words.
    """

    def __init__(self, reason: str, source: str):
        super().__init__(Problem(f"the LiteRT file that was made {reason}", file=source, hint=OTHERWISE))
        self.reason = reason


def tried(
    content: bytes,
    fed: Mapping[int, np.ndarray],
    wanted: Collection[int],
    delegate: bool,
    source: str,
    keep: bool = True,
) -> dict[int, np.ndarray]:
    """Tensors after one run, as :func:`calibrant.emit.tflite.operator_check.run_file`.

    The process is forked: interpreters have threads of their own, and nothing has to be loaded again. Where a system
    cannot fork, the file is run in this one.

    Raises
    ------
    TrialError
        The interpreter refuses the file, or ends the process.
    """
    if not hasattr(os, "fork"):
        return run_file(content, fed, wanted, delegate, keep)
    parent = os.getpid()
    with tempfile.TemporaryFile() as answer:
        child = os.fork()
        if not child:
            end_with_parent(parent)
            _run_and_exit(content, fed, wanted, delegate, keep, answer)
        status = _wait(child)
        answer.seek(0)
        answered = answer.read()
        found = pickle.loads(answered) if answered and not status else None
    how = "XNNPACK" if delegate else "the built-in kernels"
    if isinstance(found, str):
        raise TrialError(f"does not run with {how}: {refusal(found)}", source)
    if found is None or status:
        reason = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit code {status}"
        raise TrialError(f"ends the process with {how} ({reason})", source)
    return found


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
        found: dict[int, np.ndarray] | str
        try:
            found = run_file(content, fed, wanted, delegate, keep)
        except (ValueError, RuntimeError) as error:
            found = str(error).strip().splitlines()[0]
        answer.write(pickle.dumps(found, protocol=5))
        answer.flush()
        os._exit(0)
    finally:
        os._exit(1)


def _wait(child: int) -> int:
    end = time.monotonic() + SECONDS
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            return os.waitpid(child, 0)[1]
        time.sleep(0.005)

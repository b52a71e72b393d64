"""A process of its own that observes the batches it is sent: ``python -m calibrant.calibration.worker``.

It is started as a plain command, not forked and not by importing the caller's main module, so that neither TensorFlow's
threads nor scripts without ``if __name__ == "__main__"`` are in the way. Messages are pickles on its standard input and
output; nothing else may write to the latter.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np

from calibrant.calibration.observer import Observer, Statistics
from calibrant.errors import CalibrantError, DependencyError, Problem
from calibrant.graph.graph import Graph


class Worker:
    """The process as the caller sees it.

    Parameters
    ----------
    graph, statistics, threads : see :class:`calibrant.calibration.observer.Observer`. The statistics are copied.
    """

    def __init__(self, graph: Graph, statistics: Statistics, threads: int):
        paths = os.pathsep.join(filter(None, sys.path))
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": paths},
        )
        self._send((replace(graph), statistics, threads))  # a copy without what the graph has read ahead

    @property
    def process_id(self) -> int:
        """Of the system."""
        return self._process.pid

    def update(self, batch: Mapping[str, np.ndarray], number: int) -> None:
        """Let it begin with one batch; raises what Observer.update raises."""
        self._send((batch, number))
        self._receive()

    def collect(self) -> Statistics:
        """What it has observed since it was last asked; raises what Observer.settle raises."""
        self._send(None)
        return self._receive()

    def close(self) -> None:
        """End it."""
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # what was still to be written to a process that is no more
                stream.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, message: Any) -> None:
        try:
            pickle.dump(message, self._process.stdin, protocol=5)
            self._process.stdin.flush()
        except OSError:
            raise self._gone() from None

    def _receive(self) -> Any:
        try:
            answer = pickle.load(self._process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError):
            raise self._gone() from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _gone(self) -> CalibrantError:
        try:
            code = self._process.wait(10)
        except subprocess.TimeoutExpired:
            code = None
        return DependencyError(
            Problem(
                f"a worker process has ended before its time (exit code {code})",
                hint="memory may have run out: take fewer workers or smaller batches",
            )
        )


def serve(orders: BinaryIO, answers: BinaryIO) -> None:
    """Observe what comes in until the caller closes the stream."""

    def answer(message: Any) -> None:
        pickle.dump(message, answers, protocol=5)
        answers.flush()

    graph, statistics, threads = pickle.load(orders)
    blank = pickle.dumps(statistics)
    with Observer(graph, statistics, threads) as observer:
        while True:
            try:
                order = pickle.load(orders)
            except EOFError:
                return
            try:
                if order is not None:
                    observer.update(*order)
                    answer(None)
                else:
                    observer.settle()
                    answer(observer.statistics)
                    observer.statistics = pickle.loads(blank)
            except CalibrantError as error:
                answer(error)


def main() -> None:
    """Keep standard output for answers; what TensorFlow or a user's code prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        serve(sys.stdin.buffer, answers)
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(130)


if __name__ == "__main__":
    main()

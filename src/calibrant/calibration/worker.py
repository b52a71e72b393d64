"""A worker process that observes the batches it is sent: ``python -m calibrant.calibration.worker``.

It is started as a plain command, neither forked nor by importing the caller's main module, because forks do not work
with TensorFlow's threads, nor imports with scripts that lack ``if __name__ == "__main__"``. Messages are pickles on its
standard input and output; nothing else may write to its standard output.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, BinaryIO, cast

import numpy as np

from calibrant.calibration.observer import Observer, Statistics
from calibrant.errors import CalibrantError, DependencyError, Problem
from calibrant.graph.graph import Graph


class Worker:
    """The caller's side of a worker process.

    Parameters
    ----------
    graph : Graph
        The model, fed at ``graph.inputs``.
    statistics : Statistics
        Copied into the process.
    threads : int
        Number of threads that compute, 1 or more.
    """

    def __init__(self, graph: Graph, statistics: Statistics, threads: int):
        paths = os.pathsep.join(filter(None, sys.path))
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": paths},
        )
        # With PIPE, both streams exist.
        self._requests, self._answers = cast(BinaryIO, self._process.stdin), cast(BinaryIO, self._process.stdout)
        self._send((replace(graph), statistics, threads))  # a copy without the graph's caches

    @property
    def process_id(self) -> int:
        """The process number that the system gave it."""
        return self._process.pid

    def update(self, batch: Mapping[str, np.ndarray], number: int) -> None:
        """Send one batch; raises the same errors as ``Observer.update``."""
        self._send((batch, number))
        self._receive()

    def collect(self) -> Statistics:
        """The statistics since the last call; raises the same errors as ``Observer.settle``."""
        self._send(None)
        return self._receive()

    def close(self) -> None:
        """End the process."""
        for stream in (self._requests, self._answers):
            with contextlib.suppress(OSError):  # unwritten data for a process that has ended
                stream.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, message: Any) -> None:
        try:
            pickle.dump(message, self._requests, protocol=5)
            self._requests.flush()
        except OSError:
            raise self._gone() from None

    def _receive(self) -> Any:
        try:
            answer = pickle.load(self._answers)
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


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Observe the batches that come in until the caller closes the stream."""

    def answer(message: Any) -> None:
        pickle.dump(message, answers, protocol=5)
        answers.flush()

    graph, statistics, threads = pickle.load(requests)
    blank = pickle.dumps(statistics)
    with Observer(graph, statistics, threads) as observer:
        while True:
            try:
                request = pickle.load(requests)
            except EOFError:
                return
            try:
                if request is not None:
                    observer.update(*request)
                    answer(None)
                else:
                    observer.settle()
                    answer(observer.statistics)
                    observer.statistics = pickle.loads(blank)
            except CalibrantError as error:
                answer(error)


def main() -> None:
    """Reserve standard output for answers; what TensorFlow or a user's code prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        serve(sys.stdin.buffer, answers)
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(130)


if __name__ == "__main__":
    main()

"""A process that observes the batches it is sent."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from calibrant.calibration.observer import Observer, Statistics
from calibrant.child_process import ChildProcess
from calibrant.graph.graph import Graph


class Worker(ChildProcess):
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
        super().__init__(observing, replace(graph), statistics, threads)  # a copy without the graph's caches

    def update(self, batch: Mapping[str, np.ndarray], number: int) -> None:
        """Send one batch; raises the same errors as ``Observer.update``."""
        self.ask((batch, number))

    def collect(self) -> Statistics:
        """The statistics since the last call; raises the same errors as ``Observer.settle``."""
        return self.ask(None)


@contextmanager
def observing(graph: Graph, statistics: Statistics, threads: int) -> Iterator[Callable[[Any], Any]]:
    """In the worker: update statistics with each batch; asked for None, give them and start anew."""
    blank = pickle.dumps(statistics)
    with Observer(graph, statistics, threads) as observer:

        def answer(request: tuple[Mapping[str, np.ndarray], int] | None) -> Statistics | None:
            if request is not None:
                observer.update(*request)
                return None
            observer.settle()
            found = observer.statistics
            observer.statistics = pickle.loads(blank)
            return found

        yield answer

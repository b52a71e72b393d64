"""Batches through a graph, feeding every statistic that a step asked for."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock, local
from typing import Protocol

import numpy as np

from calibrant.algorithms.histogram import NonFiniteError
from calibrant.calibration.memory import trim_heap
from calibrant.errors import DataError, Problem
from calibrant.graph.graph import Graph
from calibrant.graph.run import Runner, readable

AT_ONCE = 2  # batches, where there are several threads
GIVE_BACK_EVERY = 1.0  # seconds


class Statistic(Protocol):
    """What can be collected about a tensor, batch after batch, in memory that does not grow.

    Neither the order of the batches nor how they are grouped shows in the state.
    """

    @property
    def kind(self) -> str:
        """What is collected, in words; statistics of one kind can be merged."""

    def update(self, values: np.ndarray) -> None:
        """Take in one batch; raises NonFiniteError for NaN or infinity."""

    def merge_from(self, other: Statistic) -> None:
        """Take in what another of the same kind has seen."""

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The state."""

    def merge_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Take in a state; raises ValueError for one that is not of this kind."""


Statistics = Mapping[str, Sequence[Statistic]]
"""Tensor → what is collected about it."""


class Observer:
    """A graph made ready to update statistics, which are changed in place, with batches.

    Some batches run at once, so that no processor waits: while one updates a statistic, the other computes. Where they
    are as many as the threads, operations are not divided among these: none then waits for another.

    Parameters
    ----------
    graph : the model; fed at ``graph.inputs``.
    statistics : may be exchanged for others of the same tensors when no batch runs.
    threads : that compute; as many as this process has processors by default.
    alone : whether there is one batch only, so that its operations have to be divided.
    """

    def __init__(self, graph: Graph, statistics: Statistics, threads: int = 0, alone: bool = False):
        self.graph = graph
        self.statistics = statistics
        threads = threads or available_cpus()
        divide_channels = alone or threads > AT_ONCE
        watched = {tensor: self._update_of(tensor) for tensor in statistics}
        self._runner = Runner(graph, (), threads if divide_channels else 1, watched)
        self._one_at_a_time = {tensor: Lock() for tensor in statistics}
        self._at_once = min(AT_ONCE, threads)
        self._pool = ThreadPoolExecutor(self._at_once)
        self._running: deque[Future[None]] = deque()
        self._here = local()
        self._given_back = time.monotonic()

    def update(self, batch: Mapping[str, np.ndarray], number: int) -> None:
        """Begin with a batch as soon as there are not too many under way; ``number`` is what messages call it.

        Raises
        ------
        DataError : a tensor becomes NaN or infinite, in this batch or one begun before; names the tensor, the layers
            that read it and the batch, the first of several.
        """
        if len(self._running) == self._at_once:
            self._running.popleft().result()
        self._running.append(self._pool.submit(self._run, batch, number))
        if time.monotonic() - self._given_back >= GIVE_BACK_EVERY:
            trim_heap()
            self._given_back = time.monotonic()

    def settle(self) -> None:
        """Wait until all batches are in the statistics; raises what `update` raises."""
        while self._running:
            self._running.popleft().result()

    def _run(self, batch: Mapping[str, np.ndarray], number: int) -> None:
        self._here.batch = number
        self._runner(batch)

    def _update_of(self, tensor: str) -> Callable[[np.ndarray], None]:
        def update(values: np.ndarray) -> None:
            values = np.asarray(values, np.float32)
            with self._one_at_a_time[tensor]:
                for statistic in self.statistics[tensor]:
                    try:
                        statistic.update(values)
                    except NonFiniteError as error:
                        raise self._not_finite(error, tensor) from None

        return update

    def _not_finite(self, error: NonFiniteError, tensor: str) -> DataError:
        readers = ", ".join(sorted({node.name for node, _ in self.graph.consumers(tensor)}))
        return DataError(
            Problem(
                f"{error} in batch {self._here.batch} at {readable(tensor)!r}, which {readers} reads",
                file=self.graph.source,
                hint="check the data and the preprocessing; the float model itself gives such values here",
            )
        )

    def __enter__(self) -> Observer:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._runner.close()


def available_cpus() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

"""Runs batches through a graph and updates the statistics of its tensors."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock, local
from typing import Protocol, TypeVar

import numpy as np

from calibrant.algorithms.histogram import NonFiniteError
from calibrant.calibration.memory import trim_heap
from calibrant.errors import DataError, Problem
from calibrant.graph.graph import Graph
from calibrant.graph.running.run import Runner, readable

CONCURRENT_BATCHES = 2  # with several threads
TRIM_EVERY = 1.0  # seconds


_S = TypeVar("_S", bound="Statistic")


class Statistic(Protocol):
    """Something collected about a tensor, batch by batch, in bounded memory.

    The state depends neither on the order of the batches nor on how values are grouped into batches.
    """

    @property
    def kind(self) -> str:
        """What is collected, in words; statistics of one kind can be merged."""

    def update(self, values: np.ndarray) -> None:
        """Add one batch; raises NonFiniteError for NaN or infinity."""

    def merge_from(self: _S, other: _S) -> None:
        """Add what another one of the same kind has seen."""

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The state."""

    def merge_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Add a state; raises ValueError for one of another kind."""


Statistics = Mapping[str, Sequence[Statistic]]
"""By tensor name, the statistics collected about it."""


class Observer:
    """A graph prepared to update statistics, in place, with batches.

    Two batches run at once, so that no processor waits: while one updates a statistic, the other computes. With no more
    threads than batches, operations are not divided among threads, so none waits for another.

    Parameters
    ----------
    graph : Graph
        The model, fed at ``graph.inputs``.
    statistics : Statistics
        Changed in place. May be replaced by others of the same tensors while no batch runs.
    threads : int
        Number of threads that compute, 0 or more; 0: one per processor of this process.
    alone : bool
        Whether there is only one batch, whose operations are then divided among the threads.
    """

    def __init__(self, graph: Graph, statistics: Statistics, threads: int = 0, alone: bool = False):
        self.graph = graph
        self.statistics = statistics
        threads = threads or available_cpus()
        divide_operations = alone or threads > CONCURRENT_BATCHES
        watched = {tensor: self._update_of(tensor) for tensor in statistics}
        self._runner = Runner(graph, (), threads if divide_operations else 1, watched)
        self._locks = {tensor: Lock() for tensor in statistics}
        self._concurrent = min(CONCURRENT_BATCHES, threads)
        self._pool = ThreadPoolExecutor(self._concurrent)
        self._running: deque[Future[None]] = deque()
        self._begun: set[int] = set()
        self._observed: set[int] = set()
        self._thread = local()
        self._trimmed = time.monotonic()

    def update(self, batch: Mapping[str, np.ndarray], number: int) -> None:
        """Start a batch as soon as fewer than two are running; messages call it by ``number``.

        Raises
        ------
        DataError
            A tensor becomes NaN or infinite in this batch or an earlier one; names the tensor, the layers that read it
            and the first such batch.
        """
        if len(self._running) == self._concurrent:
            self._running.popleft().result()
        self._running.append(self._pool.submit(self._run, batch, number))
        if time.monotonic() - self._trimmed >= TRIM_EVERY:
            trim_heap()
            self._trimmed = time.monotonic()

    def settle(self) -> None:
        """Wait until all batches are in the statistics; raises the same errors as ``update``."""
        while self._running:
            self._running.popleft().result()

    def interrupted(self) -> set[int] | None:
        """After an interrupt, wherever it came: wait for the batches that run, and start no other.

        Returns
        -------
        set[int] | None
            Numbers of all batches that are in the statistics; None if one of them is there in part.
        """
        self._pool.shutdown(cancel_futures=True)
        return self._observed if self._observed == self._begun else None

    def _run(self, batch: Mapping[str, np.ndarray], number: int) -> None:
        self._thread.batch = number
        self._begun.add(number)
        self._runner(batch)
        self._observed.add(number)

    def _update_of(self, tensor: str) -> Callable[[np.ndarray], None]:
        def update(values: np.ndarray) -> None:
            values = np.asarray(values, np.float32)
            with self._locks[tensor]:
                for statistic in self.statistics[tensor]:
                    try:
                        statistic.update(values)
                    except NonFiniteError as error:
                        raise self._not_finite(error, tensor) from None

        return update

    def _not_finite(self, error: NonFiniteError, tensor: str) -> DataError:
        readers = ", ".join(sorted({node.name for node, _ in self.graph.consumers(tensor)}))
        role = f"which {readers} reads" if readers else "an output of the model"
        hint = "check the data and the preprocessing; the float model itself gives such values here"
        return DataError(
            Problem(
                f"{error} in batch {self._thread.batch} at {readable(tensor)!r}, {role}",
                file=self.graph.source,
                hint=hint if readers else f"{hint}; other outputs are chosen with --outputs (outputs=)",
            )
        )

    def __enter__(self) -> Observer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if kind is not None and not issubclass(kind, Exception):
            self._runner.close()  # an interrupt: what still runs ends with its session
        self._pool.shutdown(cancel_futures=True)
        self._runner.close()


def available_cpus() -> int:
    """Number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

"""One pass over the data by whoever does it: this process, several others, or all of them after an interruption."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibrant.calibration.observer import Observer, Statistics, available_cpus
from calibrant.calibration.state import BatchKey, State, batch_digest, fingerprint
from calibrant.calibration.worker import Worker
from calibrant.data.open_data import Batches
from calibrant.errors import DataError, Problem
from calibrant.graph.graph import Graph
from calibrant.progress import ProgressFn, no_progress

SAVE_EVERY = 30.0  # seconds


@dataclass(frozen=True)
class CalibrationRunner:
    """Who observes, and what is kept of it on the way.

    Parameters
    ----------
    workers : number of processes; 1: this one.
    threads : that compute in each process. 0: as many as keep all processors busy. Results can depend on it in the last
        bits, as some sums are then divided otherwise.
    """

    workers: int = 1
    threads: int = 0

    def __post_init__(self) -> None:
        for name, least in (("workers", 1), ("threads", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise DataError(Problem(f"{name} is {value!r}", allowed=f"a whole number >= {least}"))

    def observe(
        self,
        graph: Graph,
        statistics: Statistics,
        batches: Batches,
        track: ProgressFn = no_progress,
        description: str = "calibrating",
        state: Path | None = None,
        chosen: Container[int] | None = None,
    ) -> State:
        """Update the statistics, which are changed in place, with batches; the result does not depend on the crew.

        Parameters
        ----------
        state : file that is written every SAVE_EVERY seconds and at the end; if it is there already, the batches that
            are in it are not observed again.
        chosen : numbers of the batches to take; None: all.

        Raises
        ------
        DataError : a tensor becomes NaN or infinite; or the state belongs to something else, or to other data.
        """
        blank = copy.deepcopy(statistics)
        progress = _Progress(State(fingerprint(graph, statistics) if state else "", statistics), state)
        items = progress.missing(track(batches, description, batches.batch_num), chosen)
        if self.workers == 1:
            with Observer(graph, statistics, self.threads, batches.count == 1) as observer:

                def add(seen: set[BatchKey]) -> None:
                    observer.settle()
                    progress.add(seen)

                _update_with_all(observer, items, progress.due, add)
        else:
            self._share(graph, blank, items, progress)
        progress.finish()
        return progress.state

    def _share(
        self, graph: Graph, blank: Statistics, items: Iterator[tuple[BatchKey, Mapping]], progress: _Progress
    ) -> None:
        threads = self.threads or max(available_cpus() // self.workers, 1)
        read_errors, stopped = threading.Lock(), threading.Event()

        def next_item() -> tuple[BatchKey, Mapping] | None:
            with read_errors:
                return None if stopped.is_set() else next(items, None)

        def work(worker: Worker) -> None:
            def merge_from(seen: set[BatchKey]) -> None:
                progress.merge_from(worker.collect(), seen)

            try:
                _update_with_all(worker, iter(next_item, None), progress.due, merge_from)
            except BaseException:
                stopped.set()
                raise

        with ExitStack() as stack:
            workers_up = []
            for _ in range(self.workers):
                workers_up.append(Worker(graph, blank, threads))
                stack.callback(workers_up[-1].close)
            pool = stack.enter_context(ThreadPoolExecutor(self.workers))
            stack.callback(stopped.set)
            futures = [pool.submit(work, worker) for worker in workers_up]
            failures = [failure for failure in (future.exception() for future in futures) if failure is not None]
        if failures:
            raise failures[0]


def _update_with_all(
    observer: Observer | Worker,
    items: Iterable[tuple[BatchKey, Mapping]],
    due: Callable[[], bool],
    merge_from: Callable[[set[BatchKey]], None],
) -> None:
    """Give an observer all batches; ``take_in`` is told which it has seen since, whenever it is due and at the end."""
    seen: set[BatchKey] = set()
    for key, batch in items:
        observer.update(batch, key[0])
        seen.add(key)
        if due():
            merge_from(seen)
            seen = set()
    merge_from(seen)


class _Progress:
    """The state as it grows, and its file."""

    def __init__(self, state: State, path: Path | None):
        self.state = state
        self._path = path
        self._asked: set[int] = set()
        self._lock = threading.Lock()
        self._saved = time.monotonic()
        if path is not None and path.exists():
            state.merge_from(path)
        self._known = {number for number, _ in state.batches}

    def missing(
        self, batches: Iterable[Mapping[str, np.ndarray]], chosen: Container[int] | None
    ) -> Iterator[tuple[BatchKey, Mapping[str, np.ndarray]]]:
        """The batches that were chosen and are not in the state yet."""
        for number, batch in enumerate(batches):
            if chosen is not None and number not in chosen:
                continue
            self._asked.add(number)
            key = (number, batch_digest(batch) if self._path else "")
            if number not in self._known:
                yield key, batch
            elif key not in self.state.batches:
                raise self._other_data(f"batch {number} is not the one that is in the state")

    def due(self) -> bool:
        """Whether it is time to save."""
        return self._path is not None and time.monotonic() - self._saved >= SAVE_EVERY

    def add(self, keys: Collection[BatchKey]) -> None:
        """The statistics have seen these batches."""
        self.state.batches.update(keys)
        if self.due():
            self._save()

    def merge_from(self, statistics: Statistics, keys: Collection[BatchKey]) -> None:
        """Take in what a worker has made of these batches."""
        with self._lock:
            for tensor, wanted in self.state.statistics.items():
                for mine, other in zip(wanted, statistics[tensor], strict=True):
                    mine.merge_from(other)
            self.add(keys)

    def finish(self) -> None:
        """All batches have been offered."""
        if self._path is None:
            return
        extra = sorted(self._known - self._asked)
        if extra:
            raise self._other_data(f"batch {', '.join(map(str, extra))} of the state is not asked for")
        self._save()

    def _save(self) -> None:
        self.state.save(self._path)
        self._saved = time.monotonic()

    def _other_data(self, message: str) -> DataError:
        return DataError(
            Problem(message, file=str(self._path), hint="give the same data and batch_num, or delete the file")
        )

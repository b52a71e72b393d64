"""One pass over the data, in this process or in several workers, resumed after an interruption."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibrant.calibration.ending_signals import ending_signals_interrupt
from calibrant.calibration.limits import check_threads, check_workers
from calibrant.calibration.observer import Observer, Statistics, available_cpus
from calibrant.calibration.state import BatchKey, State, batch_digest, fingerprint
from calibrant.calibration.worker import Worker
from calibrant.data.open_data import Batches
from calibrant.errors import DataError, Problem
from calibrant.graph.graph import Graph
from calibrant.progress import ProgressFn, no_progress
from calibrant.publish.writable import check_writable_file

SAVE_EVERY = 30.0  # seconds
LAST_BATCHES = 1.0  # seconds that workers have after an interrupt to finish the batches they are at


@dataclass(frozen=True)
class CalibrationRunner:
    """How a pass over the data is run: by how many processes and threads.

    Parameters
    ----------
    workers : int
        Number of processes, 1 … MOST_WORKERS; 1: this process.
    threads : int
        Number of threads that compute in each process, at most MOST_THREADS; 0: as many as keep all processors busy.
        Results can depend on it in the last bits, because some sums are divided among the threads.
    """

    workers: int = 1
    threads: int = 0

    def __post_init__(self) -> None:
        check_workers(self.workers)
        check_threads(self.threads)

    def observe(
        self,
        graph: Graph,
        statistics: Statistics,
        batches: Batches,
        track: ProgressFn = no_progress,
        description: str = "calibrating",
        state: Path | None = None,
        chosen: Collection[int] | None = None,
        midway: Callable[[], None] | None = None,
    ) -> State:
        """Update the statistics, in place, with batches; the result does not depend on the number of workers.

        Parameters
        ----------
        graph : Graph
            The model, fed at ``graph.inputs``.
        statistics : Statistics
            Changed in place.
        batches : Batches
            The data.
        track : ProgressFn
            Reports progress.
        description : str
            What progress is reported as.
        state : Path | None
            File that is written every SAVE_EVERY seconds and at the end. If it exists already, the batches in it are
            not observed again.
        chosen : Collection[int] | None
            Numbers of the batches to observe; None: all.
        midway : Callable[[], None] | None
            Called once, when the statistics hold the first half of the batches and no others. Left out where that never
            is so: with several workers, with part of the batches, with a state that is resumed, with an unknown number
            of batches or a single one.

        Returns
        -------
        State
            The statistics and the batches in them.

        Raises
        ------
        DataError
            A tensor becomes NaN or infinite; or the state file belongs to another model, configuration or data.
        """
        blank = copy.deepcopy(statistics)
        progress = _Progress(State(fingerprint(graph, statistics) if state else "", statistics), state)
        progress.state.offered = max(progress.state.offered, batches.count or 0)
        number = batches.batch_num if chosen is None else len(chosen)
        items = progress.missing(track(_numbered(batches, chosen), description, number), chosen)
        with nullcontext() if state is None else ending_signals_interrupt():
            self._observe(graph, statistics, batches, blank, items, progress, midway if chosen is None else None)
        progress.finish()
        return progress.state

    def _observe(
        self,
        graph: Graph,
        statistics: Statistics,
        batches: Batches,
        blank: Statistics,
        items: Iterator[tuple[BatchKey, Mapping[str, np.ndarray]]],
        progress: _Progress,
        midway: Callable[[], None] | None,
    ) -> None:
        if self.workers == 1:
            with Observer(graph, statistics, self.threads, batches.count == 1) as observer:

                def add(seen: set[BatchKey]) -> None:
                    observer.settle()
                    progress.add(seen)

                if midway is not None and not progress.state.batches:
                    items = _called_midway(items, (batches.count or 0) // 2, observer, midway)
                try:
                    _update_with_all(observer, items, progress.due, add)
                except KeyboardInterrupt:
                    if progress.saves:
                        progress.interrupted(observer.interrupted())
                    raise
        else:
            self._share(graph, blank, items, progress)

    def _share(
        self,
        graph: Graph,
        blank: Statistics,
        items: Iterator[tuple[BatchKey, Mapping[str, np.ndarray]]],
        progress: _Progress,
    ) -> None:
        threads = self.threads or max(available_cpus() // self.workers, 1)
        reading, stopped = threading.Lock(), threading.Event()

        def next_item() -> tuple[BatchKey, Mapping[str, np.ndarray]] | None:
            with reading:
                return None if stopped.is_set() else next(items, None)

        def work(worker: Worker) -> None:
            def add(seen: set[BatchKey]) -> None:
                progress.merge_from(worker.collect(), seen)

            try:
                _update_with_all(worker, iter(next_item, None), progress.due, add)
            except BaseException:
                stopped.set()
                raise

        workers: list[Worker] = []
        futures: list[Future[None]] = []
        with ThreadPoolExecutor(self.workers) as pool:
            try:
                for _ in range(self.workers):
                    workers.append(Worker(graph, blank, threads))
                for worker in workers:
                    futures.append(pool.submit(work, worker))
                failures = [failure for failure in (future.exception() for future in futures) if failure is not None]
                for worker in workers:
                    worker.close()
            except BaseException as error:
                stopped.set()
                interrupted = isinstance(error, KeyboardInterrupt)
                try:
                    wait(futures, LAST_BATCHES if progress.saves and interrupted else 0)
                finally:
                    for worker in workers:
                        worker.kill()
                    if interrupted:
                        progress.interrupted(set())
                raise
        if failures:
            raise failures[0]


def _numbered(
    batches: Iterable[Mapping[str, np.ndarray]], chosen: Collection[int] | None
) -> Iterator[tuple[int, Mapping[str, np.ndarray]]]:
    """The chosen batches with their numbers; all are read."""
    return ((number, batch) for number, batch in enumerate(batches) if chosen is None or number in chosen)


def _called_midway(
    items: Iterator[tuple[BatchKey, Mapping[str, np.ndarray]]],
    middle: int,
    observer: Observer,
    midway: Callable[[], None],
) -> Iterator[tuple[BatchKey, Mapping[str, np.ndarray]]]:
    for key, batch in items:
        if key[0] == middle > 0:
            observer.settle()
            midway()
        yield key, batch


def _update_with_all(
    observer: Observer | Worker,
    items: Iterable[tuple[BatchKey, Mapping[str, np.ndarray]]],
    due: Callable[[], bool],
    add: Callable[[set[BatchKey]], None],
) -> None:
    """Give an observer all batches; ``add`` is called with those seen since its last call, when due and at the end."""
    seen: set[BatchKey] = set()
    for key, batch in items:
        observer.update(batch, key[0])
        seen.add(key)
        if due():
            add(seen)
            seen = set()
    add(seen)


class _Progress:
    """The state during a run, and its file."""

    def __init__(self, state: State, path: Path | None):
        self.state = state
        self._path = path
        self._offered: dict[int, BatchKey] = {}
        self._lock = threading.Lock()
        self._saved = time.monotonic()
        if path is not None:
            check_writable_file(path)
            if path.exists():
                state.merge_from(path)
        self._resumed = {number for number, _ in state.batches}

    def missing(
        self, batches: Iterable[tuple[int, Mapping[str, np.ndarray]]], chosen: Collection[int] | None
    ) -> Iterator[tuple[BatchKey, Mapping[str, np.ndarray]]]:
        """Those of the chosen batches, by number, that are not in the state yet.

        Raises
        ------
        DataError
            The state has batches that were not chosen, or another batch of the same number.
        """
        others = [] if chosen is None else sorted(number for number in self._resumed if number not in chosen)
        if others:
            message = f"holds batch {', '.join(map(str, others))}, which --batches leaves out"
            hint = "write each range of batches to a file of its own, --state; merge takes them together"
            raise DataError(Problem(message, file=str(self._path), hint=hint))
        for number, batch in batches:
            key = (number, batch_digest(batch) if self._path else "")
            self._offered[number] = key
            if number not in self._resumed:
                yield key, batch
            elif key not in self.state.batches:
                raise self._other_data(f"batch {number} is not the one that is in the state")

    @property
    def saves(self) -> bool:
        """Whether there is a file."""
        return self._path is not None

    def due(self) -> bool:
        """Whether it is time to save."""
        return self._path is not None and time.monotonic() - self._saved >= SAVE_EVERY

    def add(self, keys: Collection[BatchKey]) -> None:
        """Note that the statistics have seen these batches."""
        self.state.batches.update(keys)
        if self.due():
            self._save()

    def merge_from(self, statistics: Statistics, keys: Collection[BatchKey]) -> None:
        """Add a worker's statistics of these batches."""
        with self._lock:
            for tensor, merged in self.state.statistics.items():
                for mine, other in zip(merged, statistics[tensor], strict=True):
                    mine.merge_from(other)
            self.add(keys)

    def finish(self) -> None:
        """Check and save the state after the last batch."""
        extra = sorted(self._resumed - self._offered.keys())
        if extra:
            raise self._other_data(f"batch {', '.join(map(str, extra))} of the state is not asked for")
        self._save()

    def interrupted(self, numbers: Collection[int] | None) -> None:
        """Save what has been observed, with the batches of these numbers; None: the statistics hold part of one."""
        if numbers is not None:
            with self._lock:
                self.state.batches.update(self._offered[number] for number in numbers)
                self._save()

    def _save(self) -> None:
        if self._path is not None:
            self.state.save(self._path)
        self._saved = time.monotonic()

    def _other_data(self, message: str) -> DataError:
        return DataError(
            Problem(message, file=str(self._path), hint="give the same data and batch_num, or delete the file")
        )

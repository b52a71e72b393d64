"""Statistics that are collected while the owner of a graph runs it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from calibrant.algorithms.histogram import NonFiniteError
from calibrant.calibration.observer import Statistics
from calibrant.errors import DataError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.running.rewire import Watchers


class InPlaceRun:
    """Statistics that are collected while the owner of a ``tf.Graph`` runs it, until there are enough batches.

    A tensor that becomes NaN or infinite ends it: that run fails, and so does every later one.

    Parameters
    ----------
    source : str
        What messages call the graph.
    statistics : Statistics
        Tensor → what is collected about it; changed in place.
    batch_num : int
        Batches that are wanted; further ones are not looked at, and those without a sample do not count.
    done : Callable[[], None]
        Called once, in the run that completes the last of them.
    """

    def __init__(self, source: str, statistics: Statistics, batch_num: int, done: Callable[[], None]):
        self.batch_num = batch_num
        self._source = source
        self._statistics = statistics
        self._done = done
        self._seen = dict.fromkeys(statistics, 0)
        self._locks = {tensor: threading.Lock() for tensor in statistics}
        self._finishing = threading.Lock()
        self.failure: DataError | None = None
        self.is_done = False

    @property
    def missing(self) -> int:
        """How many batches are still to be run."""
        return self.batch_num - min(self._seen.values(), default=0)

    @property
    def never_run(self) -> tuple[str, ...]:
        """Tensors that no run has computed, where some have computed others."""
        return tuple(tensor for tensor, seen in self._seen.items() if not seen) if any(self._seen.values()) else ()

    @property
    def watchers(self) -> Watchers:
        """What is to be called with the values of each tensor."""
        return {(tensor,): self._update_of(tensor) for tensor in self._statistics}

    def _update_of(self, tensor: str) -> Callable[[np.ndarray], None]:
        def update(values: np.ndarray) -> None:
            if not np.size(values):
                return
            with self._locks[tensor]:
                if self._seen[tensor] == self.batch_num:
                    return
                if self.failure is not None:
                    raise self.failure
                for statistic in self._statistics[tensor]:
                    try:
                        statistic.update(np.asarray(values, np.float32))
                    except NonFiniteError as error:
                        self.failure = self._not_finite(error, tensor)
                        raise self.failure from None
                self._seen[tensor] += 1
            self._finish()

        return update

    def _not_finite(self, error: NonFiniteError, tensor: str) -> DataError:
        return DataError(
            Problem(
                f"{error} in batch {self._seen[tensor]} at {nd.input_reference(tensor)!r}",
                file=self._source,
                hint="check the data and the preprocessing, as the float model itself gives such values here; "
                "then calibrate anew",
            )
        )

    def _finish(self) -> None:
        with self._finishing:
            if not self.missing and not self.is_done:
                self._done()
                self.is_done = True

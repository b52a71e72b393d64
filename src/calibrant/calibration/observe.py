"""One pass of the calibration data through a graph, feeding every statistic that a step asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from calibrant.algorithms.histogram import Histogram, NonFiniteError
from calibrant.calibration.data import Batches
from calibrant.errors import DataError, Problem
from calibrant.graph.graph import Graph
from calibrant.graph.run import Runner, readable
from calibrant.progress import Track, untracked


class Statistic(Protocol):
    """What can be collected about a tensor, batch after batch, in memory that does not grow."""

    def update(self, values: np.ndarray) -> None:
        """Take in one batch; raises NonFiniteError for NaN or infinity."""


def observe(
    graph: Graph,
    statistics: Mapping[str, Sequence[Statistic]],
    batches: Batches,
    track: Track = untracked,
    description: str = "calibrating",
    threads: int = 0,
) -> int:
    """Run the batches and update the statistics of each tensor; returns how many batches there were.

    Parameters
    ----------
    statistics : tensor → accumulators, which are changed in place.
    threads : of TensorFlow, which also do the updating; its own choice by default.

    Raises
    ------
    DataError : a tensor becomes NaN or infinite; names the tensor, the layers that read it and the batch.
    """
    done = 0

    def watcher(tensor: str) -> Callable[[np.ndarray], None]:
        def update(values: np.ndarray) -> None:
            values = np.asarray(values, np.float32)
            for statistic in statistics[tensor]:
                try:
                    statistic.update(values)
                except NonFiniteError as error:
                    raise _not_finite(error, graph, tensor, done) from None

        return update

    with Runner(graph, (), threads, {tensor: watcher(tensor) for tensor in statistics}) as runner:
        for batch in track(batches, description, batches.batch_num):
            runner(batch)
            done += 1
    return done


def _not_finite(error: NonFiniteError, graph: Graph, tensor: str, batch: int) -> DataError:
    readers = ", ".join(sorted({node.name for node, _ in graph.consumers(tensor)}))
    return DataError(
        Problem(
            f"{error} in batch {batch} at {readable(tensor)!r}, which {readers} reads",
            file=graph.source,
            hint="check the data and the preprocessing; the float model itself gives such values here",
        )
    )


def observe_histograms(
    graph: Graph, tensors: Sequence[str], batches: Batches, track: Track = untracked
) -> dict[str, Histogram]:
    """A histogram of each tensor over all batches."""
    histograms = {tensor: Histogram() for tensor in dict.fromkeys(tensors)}
    observe(graph, {tensor: (histogram,) for tensor, histogram in histograms.items()}, batches, track)
    return histograms

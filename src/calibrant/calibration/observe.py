"""One pass of the calibration data through a graph, feeding every statistic that a step asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
) -> int:
    """Run the batches and update the statistics of each tensor; returns how many batches there were.

    Parameters
    ----------
    statistics : tensor → accumulators, which are changed in place.

    Raises
    ------
    DataError : a tensor becomes NaN or infinite; names the tensor, the layers that read it and the batch.
    """
    tensors = tuple(statistics)
    done = 0
    with Runner(graph, tensors) as runner:
        for batch in track(batches, description, batches.batch_num):
            for tensor, values in zip(tensors, runner(batch), strict=True):
                for statistic in statistics[tensor]:
                    _update(statistic, np.asarray(values, np.float32), graph, tensor, done)
            done += 1
    return done


def _update(statistic: Statistic, values: np.ndarray, graph: Graph, tensor: str, batch: int) -> None:
    try:
        statistic.update(values)
    except NonFiniteError as error:
        readers = ", ".join(sorted({node.name for node, _ in graph.consumers(tensor)}))
        raise DataError(
            Problem(
                f"{error} in batch {batch} at {readable(tensor)!r}, which {readers} reads",
                file=graph.source,
                hint="check the data and the preprocessing; the float model itself gives such values here",
            )
        ) from None


def observe_histograms(
    graph: Graph, tensors: Sequence[str], batches: Batches, track: Track = untracked
) -> dict[str, Histogram]:
    """A histogram of each tensor over all batches."""
    histograms = {tensor: Histogram() for tensor in dict.fromkeys(tensors)}
    observe(graph, {tensor: (histogram,) for tensor, histogram in histograms.items()}, batches, track)
    return histograms

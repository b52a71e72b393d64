"""The number of samples that a graph takes at once where it does not take those of a batch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager

import numpy as np

from calibrant.errors import ModelError
from calibrant.graph.graph import Graph
from calibrant.graph.sample_axis import inputs_with_samples

_RESHAPE = re.compile(r"is a tensor with (\d+) values, but the requested shape has (\d+)")
_MISMATCH = re.compile(r"ncompatible shapes|broadcast|imensions|must be equal|must match", re.IGNORECASE)

MOST_TRIED = 4
"""Numbers of samples; each takes up to two runs of the graph."""
Batch = Mapping[str, np.ndarray]
Opened = AbstractContextManager[Callable[[Batch], object]]
"""What runs a graph, until it is closed."""


def fitting_samples(graph: Graph, batch: Batch, reason: str, opened: Callable[[], Opened]) -> int | None:
    """The number of samples, of those that the reason suggests, with which parts of a batch run; None if none does.

    It is 1 where a single sample runs as well: what is added to a constant of several rows takes one, or as many.

    Parameters
    ----------
    graph : Graph
        The graph that failed.
    batch : Batch
        What it was fed with, by input key.
    reason : str
        What TensorFlow said.
    opened : Callable[[], Opened]
        Imports the graph, to be run again.
    """
    keys = [graph.input_keys[at] for at in sorted(inputs_with_samples(graph))]
    sizes = {len(batch[key]) for key in keys if np.ndim(batch[key])}
    if len(sizes) != 1:
        return None
    [samples] = sizes
    suggested = dict.fromkeys(_suggested(reason, samples))
    if not suggested:
        return None
    with opened() as run:

        def takes(number: int) -> bool:
            ends = (slice(0, number), slice(samples - number, samples))
            return all(
                _runs(run, {**batch, **{key: batch[key][end] for key in keys if np.ndim(batch[key])}}) for end in ends
            )

        number = next(filter(takes, suggested), None)
        return 1 if number is not None and takes(1) else number


def _runs(run: Callable[[Batch], object], batch: Batch) -> bool:
    try:
        run(batch)
    except ModelError:
        return False
    return True


def _suggested(reason: str, samples: int) -> Iterator[int]:
    """Numbers of samples below the one that failed, the likeliest first."""
    found = _RESHAPE.search(reason)
    if found is not None:
        given, wanted = map(int, found.groups())
        if 0 < wanted < given and samples * wanted % given == 0:
            yield samples * wanted // given
    elif _MISMATCH.search(reason):
        numbers = {number for number in map(int, re.findall(r"\d+", reason)) if 0 < number < samples}
        yield from sorted(numbers, reverse=True)[:MOST_TRIED]

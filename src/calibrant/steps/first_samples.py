"""The first samples of some data, for a step that needs no more."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from calibrant.data.batches import Batches
from calibrant.graph.graph import Graph


def number_is_open(graph: Graph) -> bool:
    """Whether a model takes any number of samples at once."""
    shapes = [graph.shape(tensor) for tensor in graph.inputs]
    return all(shape is None or not shape or shape[0] is None for shape in shapes)


def first_samples(graph: Graph, batches: Batches, most: int, whole: bool = False) -> list[dict[str, np.ndarray]]:
    """The batches up to a number of samples; in whole batches where the model fixes how many it takes at once.

    A batch that is one sample is never divided.

    Parameters
    ----------
    graph : Graph
        The model.
    batches : Batches
        The data.
    most : int
        Number of samples.
    whole : bool
        In whole batches anyway.
    """
    is_open = number_is_open(graph) and not whole and not batches.one_a_run
    taken: list[dict[str, np.ndarray]] = []
    samples = 0
    for batch in batches:
        taken.append(cut(batch, 0, most - samples) if is_open else dict(batch))
        samples += batches.samples_in(taken[-1])
        if samples >= most:
            break
    return taken


def cut(batch: Mapping[str, np.ndarray], start: int, stop: int) -> dict[str, np.ndarray]:
    """Some samples of a batch; scalars belong to all of them."""
    return {name: array[start:stop] if np.ndim(array) else array for name, array in batch.items()}

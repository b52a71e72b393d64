"""Outputs that hold no samples, such as a mean over the whole batch, or a constant."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from calibrant.errors import DataError, Problem
from calibrant.evaluation.sample_range import SampleAxes
from calibrant.graph.graph import Graph


class OutputSamples:
    """How many samples a model gives for a batch, and which of its outputs hold them.

    Parameters
    ----------
    graph : Graph
        The model.
    one_a_run : bool
        Whether each batch is one sample.
    """

    def __init__(self, graph: Graph, one_a_run: bool = False):
        self._graph = graph
        self._one_a_run = one_a_run
        self._axes = SampleAxes.of(graph, one_a_run)
        self._is_open = any(shape is None or None in shape[:1] for shape in map(graph.shape, graph.inputs))

    def count(self, batch: Mapping[str, np.ndarray]) -> int:
        """Number of samples of a batch, which is given by input key."""
        return self._axes.count({at: batch[key] for at, key in enumerate(self._graph.input_keys)})

    def of_output(self, values: np.ndarray) -> np.ndarray:
        """An output of a batch as [samples, ...]: all of it where a run is one sample, unless its first axis is 1."""
        return values[np.newaxis] if self._one_a_run and values.shape[:1] != (1,) else values

    def are_missing(self, place: int, values: np.ndarray, samples: int) -> bool:
        """Whether an output holds no samples, by its values for a batch of so many."""
        shape = self._graph.shape(self._graph.outputs[place])
        is_fixed = self._is_open and shape is not None and None not in shape[:1]
        return not values.ndim or (is_fixed and len(values) != samples)

    def refuse_labels(self, place: int) -> DataError:
        """The error for labels of an output that holds no samples."""
        message = f"the labels belong to output {self._graph.output_keys[place]!r}, which has no axis of samples"
        hint = "choose an output that has one: --output NAME (output=), or --outputs (outputs=)"
        return DataError(Problem(message, file=self._graph.source, hint=hint))

"""The model that others are compared with has to give numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from calibrant.algorithms.histogram import NonFiniteError
from calibrant.errors import DataError, Problem
from calibrant.graph.graph import Graph
from calibrant.graph.running.run import readable
from calibrant.steps.sound_outputs import sound_outputs


class SoundReference:
    """What is required of a model's values.

    Parameters
    ----------
    graph : Graph
        The model.
    tensors : Sequence[str]
        The outputs, or what is looked at in their place.
    """

    def __init__(self, graph: Graph, tensors: Sequence[str]):
        self._source = graph.source
        self._required = sound_outputs(graph, tensors)
        self._tensors = tuple(tensors)

    def check(self, values: Sequence[np.ndarray], batch: int) -> None:
        """Look at one batch.

        Parameters
        ----------
        values : Sequence[np.ndarray]
            Of the tensors, in their order.
        batch : int
            Its number, for messages.

        Raises
        ------
        DataError
            There are NaN, or infinite values alone.
        """
        for tensor, found in zip(self._tensors, values, strict=True):
            try:
                if tensor in self._required:
                    self._required[tensor].update(found)
            except NonFiniteError as error:
                message = f"{error} in batch {batch} at {readable(tensor)!r}, so nothing can be compared with them"
                hint = "check the data, the preprocessing and the model, or choose other outputs: --outputs (outputs=)"
                raise DataError(Problem(message, file=self._source, hint=hint)) from None

"""How much each layer's own output changes when that layer is quantized, seen while somebody runs the float network."""

from __future__ import annotations

import math
import statistics
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from calibrant.emit.fakequant import fake_quantized_unnamed
from calibrant.errors import DataError, Problem
from calibrant.evaluation.returned import returned_number, shown
from calibrant.graph.graph import Graph
from calibrant.graph.running.rewire import Watchers
from calibrant.quantized_network import QuantizedNetwork
from calibrant.steps.refining.sensitivity import with_exchanges


class Similarity(Protocol):
    """Compares two outputs of one layer in one batch; higher is more alike."""

    def compare(self, original: np.ndarray, quantized: np.ndarray) -> float:
        """The similarity of two arrays of one shape."""


class CosineSimilarity:
    """The cosine of the angle between two outputs."""

    def compare(self, original: np.ndarray, quantized: np.ndarray) -> float:
        """In [-1, 1]; 1 where both are zero."""
        first, second = (np.asarray(array, np.float64).ravel() for array in (original, quantized))
        energy = (first @ first) * (second @ second)
        return float(first @ second / math.sqrt(energy)) if energy > 0 else float((first == second).all())


class LayerSimilarities:
    """The float network with each quantized layer beside its own: both read the same float tensor.

    Parameters
    ----------
    network : QuantizedNetwork
        With its scales and offsets.
    similarity : Similarity
        How outputs are compared; a batch counts as much as any other.
    """

    def __init__(self, network: QuantizedNetwork, similarity: Similarity):
        floating, quantized = network.graph, fake_quantized_unnamed(network)
        starts = {layer.layer.name: {found.tensor for found in layer.inputs} for layer in network.layers}
        self._ends = {layer.layer.name: f"{layer.layer.end}:0" for layer in network.layers}
        extended, self._places = with_exchanges(floating, quantized, starts, self._ends)
        self.graph: Graph = replace(extended, outputs=floating.outputs)
        self._similarity = similarity
        self._seen: dict[str, list[float]] = {name: [] for name in self._ends}
        self._lock = threading.Lock()
        self.failure: BaseException | None = None

    @property
    def watchers(self) -> Watchers:
        """What is to be called with the values of both outputs of each layer."""
        return {(end, self._places[end]): self._comparison(name) for name, end in self._ends.items()}

    def _comparison(self, name: str) -> Callable[[Any, Any], None]:
        def compare(original: np.ndarray, quantized: np.ndarray) -> None:
            try:
                found = self._compared(name, original, quantized)
            except BaseException as error:  # whatever the object of a user raises, an interrupt too
                self.failure = self.failure or error
                raise
            with self._lock:
                self._seen[name].append(found)

        return compare

    def _compared(self, name: str, original: np.ndarray, quantized: np.ndarray) -> float:
        returned = self._similarity.compare(original, quantized)
        number = returned_number(returned)
        if number is None:
            message = f"compare of {type(self._similarity).__name__} returned {shown(returned)}"
            raise DataError(Problem(message, path=name, allowed="a number, higher for what is more alike"))
        return number

    def by_layer(self) -> Mapping[str, float]:
        """Layer → mean similarity, the least alike first; without batches all are the same."""
        means = {name: _mean(seen) if seen else 1.0 for name, seen in self._seen.items()}
        return dict(sorted(means.items(), key=lambda entry: (entry[1], entry[0])))


def _mean(values: list[float]) -> float:
    """The mean; infinite where a value is, and one that is not alike at all counts more."""
    if -math.inf in values:
        return -math.inf
    try:
        return math.fsum(values) / len(values)
    except OverflowError:
        return statistics.mean(values)

"""Samples of a batch; what an input without an axis of samples holds belongs to all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from calibrant.graph.graph import Graph
from calibrant.graph.sample_axis import inputs_with_samples

Fed = Mapping[int, np.ndarray]
"""Values of the inputs by position."""


@dataclass(frozen=True)
class SampleAxes:
    """Which inputs have an axis of samples.

    Parameters
    ----------
    inputs : frozenset[int]
        Their positions.
    """

    inputs: frozenset[int]

    @classmethod
    def of(cls, graph: Graph, one_a_run: bool = False) -> SampleAxes:
        """Those of a model; none where each run is one sample."""
        return cls(frozenset() if one_a_run else inputs_with_samples(graph))

    def count(self, fed: Fed) -> int:
        """Number of samples of a batch; 1 where no input has an axis of them."""
        return max((len(values) for at, values in fed.items() if self._cut(at, values)), default=1)

    def part(self, fed: Fed, start: int, size: int) -> dict[int, np.ndarray]:
        """``size`` samples of a batch from ``start`` on."""
        return {at: values[start : start + size] if self._cut(at, values) else values for at, values in fed.items()}

    def whole_pieces(self, fed: Fed, size: int) -> Iterator[tuple[dict[int, np.ndarray], int]]:
        """Pieces of exactly ``size`` samples and how many of each count: the last is filled up with its last sample."""
        total = self.count(fed)
        for start in range(0, total, size):
            piece, kept = self.part(fed, start, size), min(size, total - start)
            filled = {
                at: np.concatenate([values, np.repeat(values[-1:], size - kept, axis=0)])
                if self._cut(at, values)
                else values
                for at, values in piece.items()
            }
            yield (filled if kept < size else piece), kept

    def fixed(self, sizes: Mapping[int, int | None]) -> int | None:
        """Number of samples that a model takes, by the first sizes of its inputs; None where that is open."""
        return next((sizes[at] for at in sorted(self.inputs) if sizes.get(at) is not None), None)

    def _cut(self, at: int, values: np.ndarray) -> bool:
        return at in self.inputs and bool(np.ndim(values))

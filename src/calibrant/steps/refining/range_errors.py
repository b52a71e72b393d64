"""The errors at the outputs that the search for ranges goes by: expected ones, or else measured ones."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cached_property

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.errors import ModelError
from calibrant.progress import LOG, ProgressFn
from calibrant.quantized_network import QuantizedInput, QuantizedNetwork
from calibrant.steps.refining.expected_errors import ExpectedErrors
from calibrant.steps.refining.output_errors import OutputErrors, Piece
from calibrant.steps.refining.range_search import ClippingRange
from calibrant.steps.refining.whole_errors import CHOOSE, WholeErrors


class RangeErrors:
    """Sizes of errors at the outputs of a float network with one quantizer's tensors quantized.

    They are measured for ranges with outliers, whose candidates are far apart, and where the outputs have no gradients;
    if that is not wanted, such ranges count as without errors.

    Parameters
    ----------
    network : QuantizedNetwork
        The network.
    units : Sequence[Sequence[QuantizedInput]]
        The activations of each quantizer.
    ranges : Sequence[ClippingRange]
        The present range of each.
    outliers : Container[int]
        The units with outliers.
    whole : WholeErrors
        The samples, and the float outputs for them.
    may_take_long : bool
        Whether candidates run one by one where there are no gradients.
    track : ProgressFn
        Shows progress.
    """

    def __init__(
        self,
        network: QuantizedNetwork,
        units: Sequence[Sequence[QuantizedInput]],
        ranges: Sequence[ClippingRange],
        outliers: Container[int],
        whole: WholeErrors,
        may_take_long: bool,
        track: ProgressFn,
    ):
        self._network, self._units = network, units
        self._pieces = whole.pieces
        self._told: frozenset[int] = frozenset()
        self._tried = range(len(units)) if may_take_long else outliers
        reference = whole.reference
        try:
            with closing(whole.take_runs(network.graph, units)) as runs:
                self._expected = ExpectedErrors(runs, ranges, whole.pieces, reference, track)
            self._told = frozenset(place for place in self._expected.known if place not in outliers)
        except ModelError as error:
            LOG.debug("refine: ranges are tried one by one: %s", error)

    @property
    def takes_long(self) -> bool:
        """Whether candidates run one by one."""
        return any(place in self._tried for place in range(len(self._units)) if place not in self._told)

    @cached_property
    def _measured(self) -> OutputErrors:
        return OutputErrors(self._network.graph, self._units, self._network.force_float16_scale)

    def of_some(self, candidates: Mapping[int, Sequence[Quantizer]]) -> dict[int, np.ndarray]:
        """Number of a unit → errors of its candidates, [candidates, samples]: the first CHOOSE, or half of fewer."""
        return self._of(candidates, choosing(self._pieces))

    def of_all(self, candidates: Mapping[int, Sequence[Quantizer]]) -> dict[int, np.ndarray]:
        """The same on all samples."""
        return self._of(candidates, self._pieces)

    def measured(self, candidates: Mapping[int, Sequence[Quantizer]]) -> dict[int, np.ndarray]:
        """The same on all samples, where what has no gradients runs in any case."""
        return self._of(candidates, self._pieces, range(len(self._units)))

    def _of(
        self,
        candidates: Mapping[int, Sequence[Quantizer]],
        pieces: Sequence[Piece],
        may_run: Container[int] | None = None,
    ) -> dict[int, np.ndarray]:
        may_run = self._tried if may_run is None else may_run
        told = {place: each for place, each in candidates.items() if place in self._told}
        tried = {place: each for place, each in candidates.items() if place not in self._told and place in may_run}
        counted = sum(piece.counted for piece in pieces)
        none = {place: np.zeros((len(each), counted)) for place, each in candidates.items()}
        found = self._expected.measure(told, counted) if told else {}
        return {**none, **found, **(self._measured.measure(tried, pieces) if tried else {})}

    def close(self) -> None:
        """Free the session."""
        if "_measured" in self.__dict__:
            self._measured.close()


def choosing(pieces: Sequence[Piece]) -> list[Piece]:
    """The first CHOOSE samples, or the first half of fewer; a piece may be divided."""
    wanted = min(CHOOSE, max(sum(piece.samples for piece in pieces) // 2, 1))
    chosen: list[Piece] = []
    for piece in pieces:
        chosen.append(piece if piece.samples <= wanted else replace(piece, stop=wanted))
        wanted -= chosen[-1].counted
        if not wanted:
            break
    return chosen

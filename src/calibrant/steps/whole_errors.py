"""The error at a network's outputs with everything quantized, on the first samples of the calibration data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property

import numpy as np

from calibrant.data.open_data import Batches
from calibrant.emit.fakequant import fake_quantized
from calibrant.graph.graph import Graph
from calibrant.graph.logits import compared_tensors
from calibrant.graph.refed import RefedRunner
from calibrant.graph.skeleton import large_constants
from calibrant.quantized_network import QuantizedNetwork
from calibrant.steps.expected_errors import SUMS
from calibrant.steps.output_errors import Piece, outputs_of, pieces_of, run_all, runner_of, sample_errors

LARGE = 1 << 26  # bytes of weights of which there is one session at a time
CHOOSE = 32
CONFIRM = 32
"""Numbers of samples that choose, and of those that have a say in the end."""
MOST_BYTES = 1 << 28
"""Of tensors and their gradients that are there at once; those of one sample always are."""


class WholeErrors:
    """Errors of whole networks against the float one; samples are read, and networks run, when they are first needed.

    In the float one, layers inside loops and branches already have their quantized weights.

    Parameters
    ----------
    network : QuantizedNetwork
        One of them, with the float network; samples run in pieces by the sizes of the tensors that it quantizes.
    batches : Batches
        Calibration data, restartable; the first CHOOSE and CONFIRM samples are read.
    """

    def __init__(self, network: QuantizedNetwork, batches: Batches):
        self._graph, self._batches = network.graph, batches
        self._tensors = {entry.tensor for entry in network.every_input()}
        self._last: tuple[QuantizedNetwork, np.ndarray] | None = None
        self._runner: RefedRunner | None = None

    @cached_property
    def pieces(self) -> list[Piece]:
        """The samples."""
        shapes = map(self._graph.shape, self._tensors)
        elements = sum(math.prod(size or 1 for size in shape[1:]) for shape in shapes if shape)
        size = min(CHOOSE, max(MOST_BYTES // (4 * (1 + SUMS) * max(elements, 1)), 1))
        return pieces_of(self._graph, self._batches, size, CHOOSE + CONFIRM)

    @property
    def samples(self) -> int:
        """Number of samples."""
        return sum(piece.samples for piece in self.pieces)

    @cached_property
    def reference(self) -> list[list[np.ndarray]]:
        """The float outputs, before a final Softmax, by piece."""
        return outputs_of(self._graph, compared_tensors(self._graph), self.pieces)

    def of(self, network: QuantizedNetwork) -> np.ndarray:
        """Sizes of the samples' errors, float64 [samples]; those of the network asked for last are kept."""
        if self._last is None or self._last[0] is not network:
            with self._reference_meanwhile():
                quantized = _quantized(network)
                runner = self._runner_of(network, quantized)
            expected = self.reference
            try:
                outputs = [runner(quantized, piece.batch) for piece in self.pieces]
            finally:
                if not runner.can_be_refed:
                    self._close()
            self._last = network, sample_errors(expected, outputs, self.pieces)
        return self._last[1]

    @contextmanager
    def _reference_meanwhile(self) -> Iterator[None]:
        """Let the float network run while Python puts the quantized one together, if both fit in memory at once."""
        if "reference" in self.__dict__ or large_constants(self._graph) > LARGE:
            yield
            return
        pieces = self.pieces
        with runner_of(self._graph, compared_tensors(self._graph)) as runner, ThreadPoolExecutor(1) as another:
            found = another.submit(run_all, runner, pieces)
            yield
            self.reference = found.result()

    def _runner_of(self, network: QuantizedNetwork, quantized: Graph) -> RefedRunner:
        """The session of the network asked for last, if only scales differ."""
        if self._runner is None or not self._runner.takes(quantized):
            self._close()
            self._runner = RefedRunner(quantized, compared_tensors(network.graph), network.graph.nodes.keys())
        return self._runner

    def _close(self) -> None:
        if self._runner is not None:
            self._runner.close()
        self._runner = None

    def mean(self, network: QuantizedNetwork) -> float:
        """The mean error of the samples, relative to the outputs' size."""
        return float(self.of(network).mean()) * math.sqrt(self.samples)

    def clear(self) -> None:
        """Free the samples and what was found."""
        self._last = None
        self._close()
        for kept in ("pieces", "reference"):
            self.__dict__.pop(kept, None)


def whole_errors(
    network: QuantizedNetwork, reference: Sequence[Sequence[np.ndarray]], pieces: Sequence[Piece]
) -> np.ndarray:
    """Sizes of the samples' errors, float64 [samples], with everything quantized.

    Parameters
    ----------
    network : QuantizedNetwork
        With its quantization parameters.
    reference : Sequence[Sequence[np.ndarray]]
        The float network's outputs for each piece, before a final Softmax.
    pieces : Sequence[Piece]
        The pieces.
    """
    points = compared_tensors(network.graph)
    return sample_errors(reference, outputs_of(_quantized(network), points, pieces), pieces)


def _quantized(network: QuantizedNetwork) -> Graph:
    return fake_quantized(replace(network, output_tensors=()))

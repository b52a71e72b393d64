"""The error at a network's outputs with everything quantized, on the first samples of the calibration data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cached_property, partial

import numpy as np

from calibrant.data.open_data import Batches
from calibrant.emit.fakequant import fake_quantized_unnamed
from calibrant.errors import ModelError
from calibrant.graph.graph import Graph
from calibrant.graph.logits import compared_tensors
from calibrant.graph.running.refed import RefedRunner
from calibrant.graph.skeleton import large_constants
from calibrant.quantized_network import QuantizedInput, QuantizedNetwork
from calibrant.steps.refining.expected_errors import SUMS
from calibrant.steps.refining.float_runs import FloatRuns
from calibrant.steps.refining.output_errors import Piece, outputs_of, pieces_of, run_all, runner_of, squared_errors

FEW_WEIGHT_BYTES = 1 << 22  # of which a session stays until gradients are asked for
LARGE_WEIGHT_BYTES = 1 << 26  # of which there is one session at a time
CHOOSE = 32
CONFIRM = 32
"""Numbers of samples that choose, and of those that have a say in the end."""
AT_ONCE = 1 << 23
"""Elements of a piece's tensors up to which the float network and the quantized one run at once."""
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
    units : Sequence[Sequence[QuantizedInput]]
        Activations of that network, by quantizer: the gradients by them may be asked for, see :meth:`take_runs`.
    """

    def __init__(self, network: QuantizedNetwork, batches: Batches, units: Sequence[Sequence[QuantizedInput]]):
        self._graph, self._batches, self._units = network.graph, batches, units
        self._runs: FloatRuns | None = None
        self._tensors = {entry.tensor for entry in network.every_input()}
        self._last: tuple[QuantizedNetwork, np.ndarray] | None = None
        self._runner: RefedRunner | None = None

    @cached_property
    def pieces(self) -> list[Piece]:
        """The samples."""
        return pieces_of(self._graph, self._batches, self._size, CHOOSE + CONFIRM)

    @cached_property
    def _elements(self) -> int:
        """Of a sample, in all tensors that are quantized."""
        shapes = map(self._graph.shape, self._tensors)
        return sum(math.prod(size or 1 for size in shape[1:]) for shape in shapes if shape)

    @property
    def _size(self) -> int:
        """Most samples of a piece."""
        return min(CHOOSE, max(MOST_BYTES // (4 * (1 + SUMS) * max(self._elements, 1)), 1))

    @property
    def samples(self) -> int:
        """Number of samples."""
        return sum(piece.samples for piece in self.pieces)

    @cached_property
    def reference(self) -> list[list[np.ndarray]]:
        """The float outputs, before a final Softmax, by piece."""
        with self._float_network() as run:
            return run(self.pieces)

    @contextmanager
    def _float_network(self) -> Iterator[Callable[[Sequence[Piece]], list[list[np.ndarray]]]]:
        """What runs it, with what gradients read where that takes hardly longer."""
        if self._units and large_constants(self._graph) <= FEW_WEIGHT_BYTES:
            with suppress(ModelError):
                self._runs = FloatRuns(self._graph, self._units, quickly=True)
        if self._runs is not None:
            yield self._runs.outputs
            return
        with runner_of(self._graph, compared_tensors(self._graph)) as runner:
            yield partial(run_all, runner)

    def take_runs(self, graph: Graph, units: Sequence[Sequence[QuantizedInput]]) -> FloatRuns:
        """The runs of a float network by these activations, which the caller closes: those of the reference if they do.

        Raises
        ------
        ModelError
            The outputs have no gradients.
        """
        runs, self._runs = self._runs, None
        if runs is not None and not runs.serve(graph, units):
            runs.close()
            runs = None
        return runs or FloatRuns(graph, units)

    def of(self, network: QuantizedNetwork) -> np.ndarray:
        """Sizes of the samples' errors, float64 [samples]."""
        return sizes_of(self._squares(network))

    def by_output(self, network: QuantizedNetwork) -> np.ndarray:
        """The mean size of the samples' errors at each output, relative to the output's size: float64 [outputs]."""
        return mean_sizes(self._squares(network))

    def _squares(self, network: QuantizedNetwork) -> np.ndarray:
        """Those of the network asked for last are kept."""
        if self._last is None or self._last[0] is not network:
            with self._reference_meanwhile() as wait:
                quantized = _quantized(network)
                runner = self._runner_of(network, quantized)
                if self._elements * self._size > AT_ONCE:
                    wait()
                try:
                    outputs = runner(quantized, [piece.batch for piece in self.pieces])
                finally:
                    if not runner.can_be_refed:
                        self._close()
            self._last = network, squared_errors(self.reference, outputs, self.pieces)
        return self._last[1]

    @contextmanager
    def _reference_meanwhile(self) -> Iterator[Callable[[], object]]:
        """Let the float network run while the quantized one is put together, if both fit in memory at once."""
        if "reference" in self.__dict__ or large_constants(self._graph) > LARGE_WEIGHT_BYTES:
            yield lambda: self.reference
            return
        pieces = self.pieces
        with self._float_network() as run, ThreadPoolExecutor(1) as another:
            found = another.submit(run, pieces)
            try:
                yield found.result
            finally:
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

    def make_room(self) -> None:
        """Free what is kept for gradients, which will be computed again: other networks are about to run."""
        if self._runs is not None:
            self._runs.make_room()

    def clear(self) -> None:
        """Free the samples and what was found."""
        self._last = None
        self._close()
        if self._runs is not None:
            self._runs.close()
        self._runs = None
        for kept in ("pieces", "reference"):
            self.__dict__.pop(kept, None)


def sizes_of(squares: np.ndarray) -> np.ndarray:
    """Sizes of the samples' errors, float64 [samples], from the squares at each output."""
    sizes: np.ndarray = np.sqrt(squares.sum(axis=1))
    return sizes


def mean_sizes(squares: np.ndarray) -> np.ndarray:
    """The mean size of the samples' errors at each output, float64 [outputs]."""
    sizes: np.ndarray = np.sqrt(squares).mean(axis=0)
    return sizes


def whole_squares(
    network: QuantizedNetwork, reference: Sequence[Sequence[np.ndarray]], pieces: Sequence[Piece]
) -> np.ndarray:
    """Squared errors of each output of the samples, float64 [samples, outputs], with everything quantized.

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
    return squared_errors(reference, outputs_of(_quantized(network), points, pieces), pieces)


def _quantized(network: QuantizedNetwork) -> Graph:
    return fake_quantized_unnamed(network)

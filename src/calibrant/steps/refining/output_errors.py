"""The error at a float network's outputs with one quantizer's tensors quantized, for many candidate quantizers.

Everything but these tensors stays in float. So tensors do not depend on each other, their rounding errors cannot cancel
out by chance, and the nodes before a tensor run once for all its candidates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.algorithms.finite_pair import finite_pair
from calibrant.data.batches import Batches, sample_count
from calibrant.errors import ModelError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.logits import compared_tensors
from calibrant.graph.running.partial_runs import PartialRuns
from calibrant.graph.running.run import OTHER_NUMBERS, Runner
from calibrant.quantized_network import QuantizedInput
from calibrant.steps.first_samples import cut, first_samples, number_is_open

MOST_BYTES = 1 << 28
"""Of values of pieces that are kept for further candidates; those of one piece always are."""


@dataclass(frozen=True, eq=False)
class Piece:
    """Some samples to run at once, and those of them that count.

    Parameters
    ----------
    batch : Mapping[str, np.ndarray]
        Input key → values.
    samples : int
        Number of samples in it.
    stop : int | None
        The first samples, up to this one, are those whose errors count; None: all.
    """

    batch: Mapping[str, np.ndarray]
    samples: int
    stop: int | None = None

    @property
    def counted(self) -> int:
        """Number of samples whose errors count."""
        return len(range(self.samples)[: self.stop])


def pieces_of(graph: Graph, batches: Batches, size: int, most: int) -> list[Piece]:
    """The first samples of some data, in pieces of a size where the model leaves the number of samples open.

    Parameters
    ----------
    size, most : int
        Samples in a piece, and in all.
    """
    taken = first_samples(graph, batches, most)
    if batches.one_a_run or not number_is_open(graph):
        return [Piece(batch, batches.samples_in(batch)) for batch in taken]
    shapes = {tuple(np.shape(array)[1:] if np.ndim(array) else None for array in batch.values()) for batch in taken}
    if len(shapes) == 1 and None not in next(iter(shapes)):
        taken = [{key: np.concatenate([batch[key] for batch in taken]) for key in taken[0]}]
    return [piece for batch in taken for piece in _cut(batch, size)]


def _cut(batch: Mapping[str, np.ndarray], size: int) -> Iterator[Piece]:
    for start in range(0, sample_count(batch), size):
        part = cut(batch, start, start + size)
        yield Piece(part, sample_count(part))


@dataclass(frozen=True)
class Exchange:
    """A tensor, and the tensor that some nodes read instead, which is replaced by candidates.

    Parameters
    ----------
    tensor, read_errors : str
        The two.
    """

    tensor: str
    read_errors: str


def with_candidates(graph: Graph, units: Sequence[Sequence[QuantizedInput]]) -> tuple[Graph, list[list[Exchange]]]:
    """A graph with a tensor of its own in front of the readers of each quantizer, and these tensors by unit.

    Parameters
    ----------
    graph : Graph
        The float network.
    units : Sequence[Sequence[QuantizedInput]]
        The activations of each quantizer.
    """
    edit = graph.edit()
    exchanges = []
    for unit in units:
        readings: dict[str, str] = {}
        for entry in unit:
            if entry.tensor not in readings:
                name = edit.free_name(f"{entry.node}/candidate")
                readings[entry.tensor] = edit.add("Identity", name, [entry.tensor], T=graph.dtype(entry.tensor))
            edit.set_input(entry.node, entry.index, readings[entry.tensor])
        exchanges.append([Exchange(tensor, f"{nd.node_name(read)}:0") for tensor, read in readings.items()])
    return edit.finish(), exchanges


@dataclass(frozen=True, eq=False)
class _Started:
    """What a piece's run left: values by tensor, and the outputs."""

    values: Mapping[str, np.ndarray]
    outputs: list[np.ndarray]

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(array.nbytes for array in self.values.values())


class OutputErrors:
    """Error at the outputs of a float graph with one quantizer's tensors quantized, relative to the outputs.

    Parameters
    ----------
    graph : Graph
        The float network.
    units : Sequence[Sequence[QuantizedInput]]
        The activations of each quantizer; for several tensors their squared errors are added.
    float16_scale : bool
        Quantize with scales rounded to float16.
    """

    def __init__(self, graph: Graph, units: Sequence[Sequence[QuantizedInput]], float16_scale: bool):
        self._float16_scale = float16_scale
        changed, self._exchanges = with_candidates(graph, units)
        self._outputs = compared_tensors(graph)
        places = {entry.read_errors: entry.tensor for unit in self._exchanges for entry in unit}
        self._runs = PartialRuns(changed, places, self._outputs)
        self._started: dict[Piece, _Started] = {}
        self._measured: dict[tuple[int, Quantizer, Piece], np.ndarray] = {}

    def measure(self, candidates: Mapping[int, Sequence[Quantizer]], pieces: Iterable[Piece]) -> dict[int, np.ndarray]:
        """Number of a unit → sizes of its candidates' errors, float64 [candidates, samples]."""
        errors: dict[int, list[np.ndarray]] = {unit: [] for unit in candidates}
        signal = np.zeros(len(self._outputs))
        for piece in pieces:
            reference = self._start(piece)
            signal += [_per_sample(array, 0.0, piece).sum() for array in reference]
            for unit, quantizers in candidates.items():
                new = [each for each in dict.fromkeys(quantizers) if (unit, each, piece) not in self._measured]
                found = self._errors(unit, new, reference, piece)
                self._measured.update({(unit, each, piece): row for each, row in zip(new, found, strict=True)})
                errors[unit].append(np.stack([self._measured[unit, each, piece] for each in quantizers]))
        return {unit: np.sqrt(np.concatenate(parts, axis=1) @ _inverse(signal)) for unit, parts in errors.items()}

    def _start(self, piece: Piece) -> list[np.ndarray]:
        """The float outputs; a piece whose values are still kept need not run again."""
        started = self._started.get(piece)
        if started is None:
            outputs = self._runs.start(piece.batch)
            started = _Started(self._runs.started, outputs)
            kept = sum(each.size for each in self._started.values())
            if kept + started.size > MOST_BYTES:
                self._started.clear()
            self._started[piece] = started
        self._runs.resume(started.values)
        return started.outputs

    def _errors(
        self, unit: int, quantizers: Sequence[Quantizer], reference: Sequence[np.ndarray], piece: Piece
    ) -> np.ndarray:
        """Squared differences of the outputs for the piece that was started, [candidates, samples, outputs]."""
        errors = np.zeros((len(quantizers), piece.counted, len(reference)))
        for exchange in self._exchanges[unit]:
            values = np.asarray(self._runs.value(exchange.tensor))
            for row, quantizer in zip(errors, quantizers, strict=True):
                outputs = self._runs.exchanged(exchange.read_errors, self._quantized(values, quantizer))
                for place, pair in enumerate(zip(reference, outputs, strict=True)):
                    row[:, place] += _per_sample(*pair, piece)
        return errors

    def _quantized(self, values: np.ndarray, quantizer: Quantizer) -> np.ndarray:
        if self._float16_scale:
            quantizer = quantizer.with_float16_scale()
        return quantizer.fake_quantize(values).astype(values.dtype)

    def close(self) -> None:
        """Free the session."""
        self._runs.close()

    def __enter__(self) -> OutputErrors:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def outputs_of(graph: Graph, points: Sequence[str], pieces: Sequence[Piece]) -> list[list[np.ndarray]]:
    """Values of some tensors for each piece.

    Parameters
    ----------
    graph : Graph
        The network.
    points : Sequence[str]
        Tensors.
    pieces : Sequence[Piece]
        The pieces.
    """
    with runner_of(graph, points) as runner:
        return run_all(runner, pieces)


def runner_of(graph: Graph, points: Sequence[str]) -> Runner:
    """A graph made ready for a few pieces."""
    return Runner(graph, list(points), optimized=False, hint=OTHER_NUMBERS)


def run_all(runner: Runner, pieces: Sequence[Piece]) -> list[list[np.ndarray]]:
    """Values for each piece."""
    return [[np.array(array) for array in runner(piece.batch)] for piece in pieces]


def squared_errors(
    reference: Sequence[Sequence[np.ndarray]], outputs: Sequence[Sequence[np.ndarray]], pieces: Sequence[Piece]
) -> np.ndarray:
    """Squared errors of each output of the samples, relative to the reference's sum of squares: [samples, outputs].

    Parameters
    ----------
    reference, outputs : Sequence[Sequence[np.ndarray]]
        The outputs of two networks for each piece.
    pieces : Sequence[Piece]
        The pieces.
    """
    errors = [
        np.stack([_per_sample(*pair, piece) for pair in zip(first, second, strict=True)], axis=1)
        for first, second, piece in zip(reference, outputs, pieces, strict=True)
    ]
    return np.concatenate(errors) * _inverse(output_sizes(reference, pieces))


def output_sizes(outputs: Sequence[Sequence[np.ndarray]], pieces: Sequence[Piece]) -> np.ndarray:
    """The sum of squares of each output over all samples, float64 [outputs].

    Parameters
    ----------
    outputs : Sequence[Sequence[np.ndarray]]
        The outputs for each piece.
    pieces : Sequence[Piece]
        The pieces.
    """
    rows = [
        [_per_sample(array, 0.0, piece).sum() for array in each] for each, piece in zip(outputs, pieces, strict=True)
    ]
    return np.sum(rows, axis=0)


def _inverse(signal: np.ndarray) -> np.ndarray:
    return np.divide(1.0, signal, out=np.zeros_like(signal), where=signal > 0)


def check_same_sizes(first: np.ndarray, second: np.ndarray) -> None:
    """Outputs of the float and of the quantized network can be compared.

    Raises
    ------
    ModelError
        They have different shapes.
    """
    if first.shape != second.shape:
        shapes = f"{list(first.shape)} in float, {list(second.shape)} quantized"
        raise ModelError(Problem(f"outputs whose sizes depend on values cannot be compared: {shapes}"))


def _per_sample(first: np.ndarray, second: np.ndarray | float, piece: Piece) -> np.ndarray:
    """Squared difference of outputs for each sample that counts; spread evenly where they have no axis of samples."""
    if np.ndim(second):
        check_same_sizes(first, np.asarray(second))
    squares = np.square(np.subtract(*finite_pair(first, second)))
    if squares.ndim and len(squares) == piece.samples:
        return squares.reshape(piece.samples, -1).sum(axis=1)[: piece.stop]
    return np.full(piece.samples, squares.sum() / piece.samples)[: piece.stop]

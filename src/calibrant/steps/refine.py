"""Step: choose the clipping ranges with the smallest error at the network's outputs.

The squared error of a tensor itself is a poor measure if one feature with large values sets the range but hardly
affects the outputs. Here the measure of a range is the error at the outputs (before a final Softmax) with this tensor
quantized and everything else in float. So tensors do not depend on each other, their rounding errors cannot cancel out
by chance, and the nodes before a tensor run once per batch for all its candidates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.algorithms.code_use import code_use
from calibrant.algorithms.histogram import Histogram
from calibrant.algorithms.ifmr import quantization_errors
from calibrant.algorithms.search_result import SearchResult
from calibrant.data.open_data import Batches
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.logits import before_softmax
from calibrant.graph.partial_runs import PartialRuns
from calibrant.progress import ProgressFn, no_progress
from calibrant.quantized_network import QuantizedInput, QuantizedNetwork
from calibrant.steps.joint import joint_histograms
from calibrant.steps.observed import with_activations
from calibrant.steps.prepare import Prepared
from calibrant.steps.range_search import ClippingRange, search_ranges, without_outliers

NARROWER = (0.9999, 0.999, 0.99, 0.97)


def refined(
    prepared: Prepared, network: QuantizedNetwork, batches: Batches, track: ProgressFn = no_progress
) -> QuantizedNetwork:
    """The network with the activation ranges whose outputs are nearest to the float network's.

    Readers of one tensor that share scale and offset still share them, as do joint groups.

    Parameters
    ----------
    batches : Batches
        Calibration data, restartable; read about ten times.
    """
    units = units_of(network, prepared)
    ranges = [_range(unit[0], prepared) for unit in units]
    merged = joint_histograms(network.graph, prepared.plan.groups, prepared.histograms)

    def histogram_of(entry: QuantizedInput) -> Histogram:
        return merged.get((entry.node, entry.index), (None, prepared.histograms[entry.tensor]))[1]

    narrower = {
        place: _narrower(ranges[place], histogram_of(unit[0]))
        for place, unit in enumerate(units)
        if unit[0].search.use is not None and unit[0].search.use.is_poor
    }
    with OutputErrors(network.graph, units, network.force_float16_scale) as errors:

        def measure(candidates: Mapping[int, Sequence[Quantizer]], enough: int | None) -> dict[int, np.ndarray]:
            return errors.measure(candidates, batches, enough, track)

        start = without_outliers(ranges, narrower, measure) if narrower else ranges
        moved = search_ranges(start, measure)
    changed: dict[tuple[str, int], QuantizedInput] = {}
    for unit, before, after in zip(units, ranges, moved, strict=True):
        for entry in unit if after != before else ():
            search = _result(entry.search, after, histogram_of(entry))
            changed[entry.node, entry.index] = replace(entry, search=search, unrefined=entry.search)
    every = {(entry.node, entry.index): entry for entry in network.every_input()}
    return with_activations(prepared, {**every, **changed}, network.intermediate)


def _result(search: SearchResult, moved: ClippingRange, histogram: Histogram) -> SearchResult:
    quantizer = moved.quantizer
    scale, offset = np.array([quantizer.scale]), np.array([quantizer.offset])
    error = quantization_errors(histogram, scale, offset, quantizer.bits)
    return replace(
        search,
        quantizer=quantizer,
        low=moved.low,
        high=moved.high,
        mean_squared_error=float(error[0]),
        use=code_use(histogram, quantizer),
    )


def _narrower(entry: ClippingRange, histogram: Histogram) -> list[ClippingRange]:
    """The range without ever larger shares of the outermost values."""
    return [
        replace(
            entry,
            low=min(histogram.value_from_bottom(share).value, 0.0),
            high=max(histogram.value_from_top(share).value, 0.0),
        )
        for share in NARROWER
    ]


def units_of(network: QuantizedNetwork, prepared: Prepared) -> list[list[QuantizedInput]]:
    """Activations that share one quantizer: joint groups, and readers of one tensor with the same settings."""
    units: dict[object, list[QuantizedInput]] = {}
    for entry in network.every_input():
        settings = prepared.places[entry.node, entry.index]
        units.setdefault(entry.group or (entry.tensor, settings), []).append(entry)
    return list(units.values())


def _range(entry: QuantizedInput, prepared: Prepared) -> ClippingRange:
    asymmetric = prepared.places[entry.node, entry.index].asymmetric
    low, high = min(entry.search.low, 0.0), max(entry.search.high, 0.0)
    return ClippingRange(low, high, entry.quantizer.bits, asymmetric)


@dataclass(frozen=True)
class _Exchange:
    """A tensor, and the tensor that some nodes read instead, which is replaced by candidates."""

    tensor: str
    read_errors: str


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

    def __init__(self, graph: Graph, units: Sequence[Sequence[QuantizedInput]], float16_scale: bool = False):
        self._float16_scale = float16_scale
        edit = graph.edit()
        self._exchanges: list[list[_Exchange]] = []
        for unit in units:
            readings: dict[str, str] = {}
            for entry in unit:
                if entry.tensor not in readings:
                    name = edit.free_name(f"{entry.node}/candidate")
                    readings[entry.tensor] = edit.add("Identity", name, [entry.tensor], T=graph.dtype(entry.tensor))
                edit.set_input(entry.node, entry.index, readings[entry.tensor])
            self._exchanges.append([_Exchange(tensor, f"{nd.node_name(r)}:0") for tensor, r in readings.items()])
        self._outputs = tuple(before_softmax(graph, tensor) for tensor in graph.outputs)
        places = {entry.read_errors: entry.tensor for unit in self._exchanges for entry in unit}
        self._runs = PartialRuns(edit.finish(), places, self._outputs)

    def measure(
        self,
        candidates: Mapping[int, Sequence[Quantizer]],
        batches: Batches,
        enough: int | None = None,
        track: ProgressFn = no_progress,
    ) -> dict[int, np.ndarray]:
        """Number of a unit → sizes of its candidates' errors, float64 [candidates, samples].

        Parameters
        ----------
        enough : int | None
            Batches are read until they are this many samples; None: to the end.
        """
        errors: dict[int, list[np.ndarray]] = {unit: [] for unit in candidates}
        signal = np.zeros(len(self._outputs))
        seen = 0
        for batch in track(batches, "refining", batches.count):
            if enough is not None and seen >= enough:
                break
            samples = len(next(iter(batch.values())))
            seen += samples
            reference = self._runs.start(batch)
            signal += [np.square(array, dtype=np.float64).sum() for array in reference]
            for unit, quantizers in candidates.items():
                errors[unit].append(self._errors(unit, quantizers, reference, samples))
        weight = np.divide(1.0, signal, out=np.zeros_like(signal), where=signal > 0)
        return {unit: np.sqrt(np.concatenate(parts, axis=1) @ weight) for unit, parts in errors.items()}

    def _errors(
        self, unit: int, quantizers: Sequence[Quantizer], reference: Sequence[np.ndarray], samples: int
    ) -> np.ndarray:
        """Squared differences of the outputs for the batch that was started, [candidates, samples, outputs]."""
        errors = np.zeros((len(quantizers), samples, len(reference)))
        for exchange in self._exchanges[unit]:
            values = np.asarray(self._runs.value(exchange.tensor))
            for row, quantizer in zip(errors, quantizers, strict=True):
                outputs = self._runs.exchanged(exchange.read_errors, self._quantized(values, quantizer))
                for place, pair in enumerate(zip(reference, outputs, strict=True)):
                    row[:, place] += _per_sample(*pair, samples)
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


def _per_sample(first: np.ndarray, second: np.ndarray, samples: int) -> np.ndarray:
    """Squared difference of two outputs for each sample; spread evenly where an output has no axis of samples."""
    squares = np.square(np.subtract(first, second, dtype=np.float64))
    if squares.ndim and len(squares) == samples:
        return squares.reshape(samples, -1).sum(axis=1)
    return np.full(samples, squares.sum() / samples)

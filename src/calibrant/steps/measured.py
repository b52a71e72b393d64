"""Step: the error of the outputs, and how it grows with depth: of each quantized layer's input."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from calibrant.algorithms.median_sqnr import median_sqnr_db
from calibrant.algorithms.sqnr import arrays_sqnr_db
from calibrant.data.batches import sample_count
from calibrant.data.open_data import Batches
from calibrant.emit.fakequant import fake_quantized_unnamed
from calibrant.emit.tflite.sample import takes
from calibrant.errors import ModelError
from calibrant.fed_shapes import FedShapes
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.input_shapes import with_fed_shapes
from calibrant.graph.logits import before_softmax
from calibrant.graph.multiply_accumulates import count_products
from calibrant.graph.running.run import Runner
from calibrant.progress import LOG
from calibrant.quantized_network import ErrorGrowth, InputError, OutputSqnr, QuantizedInput, QuantizedNetwork
from calibrant.steps.by_sample import by_sample, joined
from calibrant.steps.first_samples import cut, first_samples, number_is_open
from calibrant.steps.undefined_outputs import undefined_samples, where_undefined

LEAST_SAMPLES, MOST_SAMPLES = 4, 32
PRODUCTS = 1 << 31
"""Multiply-accumulates of all samples together, if LEAST_SAMPLES do not have more."""
RESULTS = 1 << 24
"""Numbers in the outputs of all samples together, if LEAST_SAMPLES do not have more."""
ENOUGH_VALUES = 1 << 15
"""Of a tensor in each of LEAST_SAMPLES batches, or as many in more of them: whole positions with all their channels,
evenly spaced.
"""
_LIMITS = (0.0, 90.0)
_Runs = Sequence[np.ndarray]
_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Measured:
    """What a run of both networks on a few samples shows.

    Parameters
    ----------
    outputs : OutputSqnr | None
        Of the outputs, before a final Softmax; None where none of them can be compared.
    growth : ErrorGrowth | None
        Of the quantized inputs; None if it was not asked for.
    """

    outputs: OutputSqnr | None
    growth: ErrorGrowth | None


def measured(
    network: QuantizedNetwork, reference: Graph, keys: Sequence[str], batches: Batches, inputs: bool
) -> Measured:
    """Run the first samples through the float and the quantized network.

    Parameters
    ----------
    network : QuantizedNetwork
        The network.
    reference : Graph
        The float network, also inside loops and branches.
    keys : Sequence[str]
        How the outputs are called, in order.
    batches : Batches
        Data that can be read again; the first :func:`samples_to_run` are used, in whole batches where the model fixes
        them, or does not take so few at once.
    inputs : bool
        Whether the quantized inputs are measured, too; of each at most about ENOUGH_VALUES values a batch, so that
        time and memory stay small beside calibration.
    """
    graph = reference if network.weight_only else network.graph

    def on(fed: list[dict[str, np.ndarray]]) -> Measured:
        counts = list(map(batches.samples_in, fed))
        return _measured_on(fed, counts, network, reference, keys, inputs)

    return _on_first(graph, batches, samples_to_run(reference, batches.fed), on) or Measured(None, None)


def _on_first(
    graph: Graph, batches: Batches, most: int, measure: Callable[[list[dict[str, np.ndarray]]], _Found]
) -> _Found | None:
    """What is measured on the first samples, or on whole batches where a graph does not take parts of them."""
    for whole in (False, True):
        try:
            return measure(first_samples(graph, batches, most, whole))
        except ModelError as error:
            failed = error
            LOG.debug("measure: %s: %s", "whole batches" if whole else "the first samples", error)
    LOG.warning("the error of the outputs is not measured: %s", failed.problems[0].message)
    return None


def _measured_on(
    fed: list[dict[str, np.ndarray]],
    counts: Sequence[int],
    network: QuantizedNetwork,
    reference: Graph,
    keys: Sequence[str],
    inputs: bool,
) -> Measured:
    quantized = fake_quantized_unnamed(network)
    graph = reference if network.weight_only else network.graph
    entries = network.every_input() if inputs else ()
    watched = {entry.tensor for entry in entries}
    places = [place for place, tensor in enumerate(graph.outputs) if graph.dtype(tensor).is_floating]
    points = [_points(graph, quantized, place, before_softmax(quantized, quantized.outputs[place])) for place in places]
    if not points and not watched:
        return Measured(None, None)
    axes = {tensor: _channel_axis(network.graph, tensor) for tensor in sorted(watched)}  # quantizers have none
    first = _values(graph, [point[0] for point in points], fed, axes if graph is network.graph else {})
    kept = first.kept if graph is network.graph else _values(network.graph, [], fed, axes).kept
    second = _values(quantized, [point[1] for point in points], fed, axes)
    compared = {keys[place]: graph.outputs[place] for place in places}
    outputs = _compared(compared, graph, first.fetched, second.fetched, counts)
    if outputs is not None and outputs.undefined:
        origin = where_undefined(quantized, fed, [layer.layer.name for layer in network.layers])
        outputs = replace(outputs, undefined_at=origin)
    if not inputs:
        return Measured(outputs, None)
    arriving = {tensor: _decibels(kept[tensor], second.kept[tensor]) for tensor in watched}
    errors = (_input_error(entry, kept[entry.tensor], arriving[entry.tensor]) for entry in entries)
    return Measured(outputs, ErrorGrowth(sum(counts), tuple(errors)))


def samples_to_run(graph: Graph, fed: FedShapes | None = None) -> int:
    """How many samples are run: MOST_SAMPLES through small networks, fewer through large ones.

    LEAST_SAMPLES where a product cannot be counted, as in some loops, or an output's size is open.
    """
    products = count_products(graph, fed)
    known = _sizes_of_outputs(graph)
    if len(known) < len(graph.outputs) and fed is not None:
        known = _sizes_of_outputs(with_fed_shapes(graph, fed) or graph)
    if products.unknown or len(known) < len(graph.outputs):
        return LEAST_SAMPLES
    most = min(PRODUCTS // max(sum(products.counts.values()), 1), RESULTS // max(sum(known), 1))
    return min(max(most, LEAST_SAMPLES), MOST_SAMPLES)


def _sizes_of_outputs(graph: Graph) -> list[int]:
    """How many numbers of a sample those outputs have whose sizes are not open."""
    shapes = (nd.static_shape((graph.shape(tensor) or (None, None))[1:]) for tensor in graph.outputs)
    return [math.prod(shape) for shape in shapes if shape is not None]


def file_sqnr(
    reference: Graph, simulation: Graph, scores: Sequence[str], keys: Sequence[str], batches: Batches
) -> OutputSqnr | None:
    """How far the outputs of a LiteRT file are from the float network's, on the samples of :func:`measured`.

    Parameters
    ----------
    reference : Graph
        The float network.
    simulation : Graph
        What the file computes.
    scores : Sequence[str]
        For each output, the tensor of the simulation that a final Softmax reads, or the output itself.
    keys : Sequence[str]
        How the outputs are called, in order.
    batches : Batches
        As of :func:`measured`.

    Returns
    -------
    OutputSqnr | None
        None where the file takes other sizes than the data have, or no output can be compared at one point.
    """
    size = next((shape[0] for tensor in simulation.inputs if (shape := simulation.shape(tensor))), None)

    def on(fed: list[dict[str, np.ndarray]]) -> OutputSqnr | None:
        pieces = fed if size is None or batches.one_a_run else _pieces(fed, size)
        return _file_sqnr_on(pieces, list(map(batches.samples_in, pieces)), reference, simulation, scores, keys)

    most = samples_to_run(reference, batches.fed)
    return _on_first(reference, batches, most if batches.one_a_run else max(most, size or 0), on)


def _file_sqnr_on(
    fed: list[dict[str, np.ndarray]],
    counts: Sequence[int],
    reference: Graph,
    simulation: Graph,
    scores: Sequence[str],
    keys: Sequence[str],
) -> OutputSqnr | None:
    floating = [place for place, tensor in enumerate(reference.outputs) if reference.dtype(tensor).is_floating]
    places = [
        place
        for place in floating
        if (before_softmax(reference, reference.outputs[place]) == reference.outputs[place])
        == (scores[place] == simulation.outputs[place])
    ]
    if (
        not places
        or not fed
        or not all(takes(graph, dict(enumerate(batch.values()))) for graph in (reference, simulation) for batch in fed)
    ):
        return None
    points = [_points(reference, simulation, place, scores[place]) for place in places]
    first = _values(reference, [point[0] for point in points], fed, {})
    named = [dict(zip(simulation.input_keys, batch.values(), strict=True)) for batch in fed]
    second = _values(simulation, [point[1] for point in points], named, {})
    compared = {keys[place]: reference.outputs[place] for place in places}
    outputs = _compared(compared, reference, first.fetched, second.fetched, counts)
    if outputs is None:
        return None
    return replace(outputs, not_compared=tuple(keys[at] for at in floating if keys[at] not in outputs.by_output))


def _pieces(fed: Sequence[Mapping[str, np.ndarray]], size: int) -> list[dict[str, np.ndarray]]:
    """Batches of so many samples; what is left over is left out."""
    starts = [(batch, start) for batch in fed for start in range(0, sample_count(batch) - size + 1, size)]
    return [cut(batch, start, start + size) for batch, start in starts]


def _compared(
    tensors: Mapping[str, str],
    graph: Graph,
    reference: Sequence[_Runs],
    outputs: Sequence[_Runs],
    counts: Sequence[int],
) -> OutputSqnr | None:
    """Of the outputs by key, tensors of a float network that runs so many samples at a time."""
    pairs = dict(zip(tensors, zip(reference, outputs, strict=True), strict=True))
    alike = {
        key: (_samples(graph, tensors[key], wanted, counts), _samples(graph, tensors[key], made, counts))
        for key, (wanted, made) in pairs.items()
        if [run.shape for run in wanted] == [run.shape for run in made] and any(run.size for run in wanted)
    }
    if not alike:
        return None
    return OutputSqnr(
        by_output={key: median_sqnr_db(*pair) for key, pair in alike.items()},
        samples=sum(counts),
        not_compared=tuple(key for key in pairs if key not in alike),
        undefined={key: count for key, pair in alike.items() if (count := undefined_samples(*pair))},
        silent=tuple(key for key, (wanted, _) in alike.items() if not wanted.any()),
        pooled={key: arrays_sqnr_db(*pair) for key, pair in alike.items()},
    )


def _samples(graph: Graph, output: str, runs: _Runs, counts: Sequence[int]) -> np.ndarray:
    """All values of an output, [samples, ...]."""
    shape = graph.shape(output)
    fixed_second = number_is_open(graph) and shape is not None and len(shape) > 1 and shape[1] is not None
    return joined([by_sample(run, count, fixed_second) for run, count in zip(runs, counts, strict=True)])


def _points(graph: Graph, quantized: Graph, place: int, score: str) -> tuple[str, str]:
    """Where an output of both networks is compared: before the Softmax where both have one."""
    outputs = graph.outputs[place], quantized.outputs[place]
    scores = before_softmax(graph, outputs[0]), score
    return outputs if scores[0] == outputs[0] or scores[1] == outputs[1] else scores


@dataclass(frozen=True)
class _Values:
    """Fetched tensors batch by batch, and some positions of watched ones, [positions, channels]."""

    fetched: list[_Runs]
    kept: dict[str, np.ndarray]


def _values(graph: Graph, fetches: list[str], fed: list[dict[str, np.ndarray]], axes: Mapping[str, int]) -> _Values:
    parts: dict[str, list[np.ndarray]] = {tensor: [] for tensor in axes}
    enough = ENOUGH_VALUES * LEAST_SAMPLES // max(len(fed), LEAST_SAMPLES)

    def keeper(tensor: str) -> Callable[[np.ndarray], None]:
        return lambda values: parts[tensor].append(
            _some_positions(np.asarray(values, np.float32), axes[tensor], enough)
        )

    with Runner(
        graph, fetches, watched={tensor: keeper(tensor) for tensor in parts} or None, optimized=False
    ) as runner:
        results = [[np.atleast_1d(np.array(value)) for value in runner(batch)] for batch in fed]
    fetched = list(zip(*results, strict=True))
    return _Values(fetched, {tensor: np.concatenate(pieces) for tensor, pieces in parts.items()})


def _some_positions(values: np.ndarray, axis: int, enough: int) -> np.ndarray:
    """Positions with all their channels, [positions, channels]."""
    rows = np.moveaxis(values, axis, -1) if values.ndim > 1 else values.reshape(1, -1)
    rows = rows.reshape(-1, rows.shape[-1])
    most = max(enough // max(rows.shape[-1], 1), 1)
    return rows[:: max(-(-len(rows) // most), 1)].copy()


def _channel_axis(graph: Graph, tensor: str) -> int:
    """The axis of channels as the readers see it: 1 where one of them has its channels first, else the last."""
    formats = [str(nd.attribute(node, "data_format") or "") for node, _ in graph.consumers(tensor)]
    return 1 if any(text.startswith("NC") for text in formats) else -1


def _input_error(entry: QuantizedInput, values: np.ndarray, arriving: float | None) -> InputError:
    if not len(values):
        return InputError(entry.node, entry.index, None, None, 1.0)
    signal = np.square(values, dtype=np.float64).mean(axis=0)
    noise = np.square(values - entry.quantizer.fake_quantize(values), dtype=np.float64).mean(axis=0)
    heard = signal > 0
    magnitudes = np.abs(values).max(axis=0, initial=0.0)[heard]
    with np.errstate(divide="ignore"):
        ratios = np.clip(10 * np.log10(signal[heard] / noise[heard]), *_LIMITS)
    return InputError(
        entry.node,
        entry.index,
        arriving,
        float(ratios.mean()) if heard.any() else None,
        float(magnitudes.max() / np.median(magnitudes)) if heard.any() else 1.0,
    )


def _decibels(first: np.ndarray, second: np.ndarray) -> float | None:
    if first.shape != second.shape:  # the data decide how many values there are
        return None
    ratio = arrays_sqnr_db(first, second)
    return ratio if math.isfinite(ratio) else None

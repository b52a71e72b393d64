"""Step: how the error grows with depth: each quantized layer's input, in the quantized network and by itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from calibrant.algorithms.sqnr import sqnr_db
from calibrant.data.open_data import Batches
from calibrant.emit.fakequant import fake_quantized
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.run import Runner
from calibrant.quantized_network import ErrorGrowth, InputError, QuantizedInput, QuantizedNetwork

ENOUGH_SAMPLES = 3
ENOUGH_VALUES = 1 << 15
"""Of a tensor, whole positions with all their channels, evenly spaced."""
_LIMITS = (0.0, 90.0)


def error_growth(network: QuantizedNetwork, batches: Batches) -> ErrorGrowth | None:
    """Run the first few samples through the float and the quantized network; None without data.

    Takes ENOUGH_SAMPLES samples where the model leaves the number open, else one batch, and of each tensor at most
    about ENOUGH_VALUES values, so that time and memory are small beside calibration.
    """
    first = next(iter(batches), None)
    if first is None:
        return None
    batch = _shortened(network.graph, first)
    entries = network.every_input()
    watched = {entry.tensor for entry in entries}
    floats = _values(network.graph, batch, watched)
    quantized = _values(fake_quantized(replace(network, output_tensors=())), batch, watched)
    arriving = {tensor: _decibels(floats[tensor], quantized[tensor]) for tensor in watched}
    return ErrorGrowth(
        samples=len(next(iter(batch.values()))) if all(np.ndim(value) for value in batch.values()) else 1,
        inputs=tuple(_input_error(network.graph, entry, floats[entry.tensor], arriving) for entry in entries),
    )


def _shortened(graph: Graph, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    shapes = [graph.shape(tensor) for tensor in graph.inputs]
    if all(shape and shape[0] is None for shape in shapes):
        return {name: values[:ENOUGH_SAMPLES] for name, values in batch.items()}
    return dict(batch)


def _values(graph: Graph, batch: Mapping[str, np.ndarray], tensors: set[str]) -> dict[str, np.ndarray]:
    kept: dict[str, np.ndarray] = {}

    def keeper(tensor: str) -> Callable[[np.ndarray], None]:
        axis = _channel_axis(graph, tensor)

        def keep(values: np.ndarray) -> None:
            kept[tensor] = _some_positions(np.asarray(values, np.float32), axis)

        return keep

    with Runner(graph, (), watched={tensor: keeper(tensor) for tensor in sorted(tensors)}) as runner:
        runner(batch)
    return kept


def _some_positions(values: np.ndarray, axis: int) -> np.ndarray:
    """Positions with all their channels, [positions, channels]."""
    rows = np.moveaxis(values, axis, -1) if values.ndim > 1 else values.reshape(1, -1)
    rows = rows.reshape(-1, rows.shape[-1])
    most = max(ENOUGH_VALUES // max(rows.shape[-1], 1), 1)
    return rows[:: max(-(-len(rows) // most), 1)].copy()


def _channel_axis(graph: Graph, tensor: str) -> int:
    """The axis of channels as the readers see it: 1 where one of them has its channels first, else the last."""
    formats = [str(nd.attribute(node, "data_format") or "") for node, _ in graph.consumers(tensor)]
    return 1 if any(text.startswith("NC") for text in formats) else -1


def _input_error(
    graph: Graph, entry: QuantizedInput, values: np.ndarray, arriving: Mapping[str, float | None]
) -> InputError:
    signal = np.square(values, dtype=np.float64).mean(axis=0)
    noise = np.square(values - entry.quantizer.fake_quantize(values), dtype=np.float64).mean(axis=0)
    heard = signal > 0
    magnitudes = np.abs(values).max(axis=0, initial=0.0)[heard]
    with np.errstate(divide="ignore"):
        ratios = np.clip(10 * np.log10(signal[heard] / noise[heard]), *_LIMITS)
    return InputError(
        entry.node,
        entry.index,
        arriving[entry.tensor],
        float(ratios.mean()) if heard.any() else None,
        float(magnitudes.max() / np.median(magnitudes)) if heard.any() else 1.0,
    )


def _decibels(first: np.ndarray, second: np.ndarray) -> float | None:
    signal = float(np.square(first, dtype=np.float64).sum())
    noise = float(np.square(np.subtract(first, second, dtype=np.float64)).sum())
    ratio = sqnr_db(signal, noise)
    return ratio if math.isfinite(ratio) else None

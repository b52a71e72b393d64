"""Inputs to try a file with: some of the calibration data, or what comes near them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from calibrant.emit.tflite.flatbuffer import File
from calibrant.emit.tflite.simulation.codes import quantized
from calibrant.graph.graph import Graph
from calibrant.quantized_network import QuantizedNetwork

SAMPLES = 2


def from_batch(graph: Graph, batch: Mapping[str, np.ndarray], file: File, whole: bool) -> dict[int, np.ndarray] | None:
    """The first samples of a batch by position, or the whole one, each input's own rows; None where they do not fit."""
    values = {at: np.asarray(batch[key]) for at, key in enumerate(graph.input_keys)}
    found = {}
    for at, tensor in enumerate(file.inputs()):
        fixed = tensor.signature[:1]
        count = SAMPLES if not fixed or fixed[0] is None else fixed[0]
        found[at] = values[at][:count] if values[at].ndim and not whole else values[at]
        if not fits(found[at].shape, tensor.signature):
            return None
    return found


def later_samples(
    graph: Graph, batches: Iterable[Mapping[str, np.ndarray]], file: File, whole: bool
) -> Iterator[dict[int, np.ndarray]]:
    """All samples behind those of :func:`from_batch`, as many at once; of whole batches those behind the first one."""
    counts = [tensor.signature[0] or SAMPLES for tensor in file.inputs() if tensor.signature]
    for at, batch in enumerate(batches):
        values = {key: np.asarray(batch[key]) for key in graph.input_keys}
        rows = {len(each) for each in values.values() if each.ndim}
        is_sliced = not whole and len(rows) == 1 and len(set(counts)) == 1
        starts = range(0, max(rows) - counts[0] + 1, counts[0]) if is_sliced else (0,)
        for start in starts:
            part = {key: each[start:] if each.ndim else each for key, each in values.items()}
            sample = from_batch(graph, part, file, whole) if at or start else None
            if sample is not None:
                yield sample


def has_numbers_of_rows(graph: Graph, batch: Mapping[str, np.ndarray]) -> bool:
    """Whether an input may point at rows of its batch: the first samples may then point at rows that they lack."""
    return any(
        values.dtype.kind in "iu" and values.size and SAMPLES <= values.max() < _most_rows(batch)
        for values in (np.asarray(batch[key]) for key in graph.input_keys)
    )


def _most_rows(batch: Mapping[str, np.ndarray]) -> int:
    return max((len(values) for values in map(np.asarray, batch.values()) if values.ndim), default=0)


def made_up(network: QuantizedNetwork, file: File) -> dict[int, np.ndarray]:
    """Random numbers in the ranges of the inputs; whole numbers are 0."""
    random = np.random.default_rng(0)
    ranges = {found.tensor: found.quantizer.range for found in network.every_input()}
    found = {}
    for at, (tensor, name) in enumerate(zip(file.inputs(), network.graph.inputs, strict=True)):
        shape = tuple(_sizes(tensor.signature))
        low, high = ranges.get(name, (-1.0, 1.0))
        real = tensor.dtype is not None and tensor.dtype.kind == "f"
        found[at] = random.uniform(low, high, shape).astype(np.float32) if real else np.zeros(shape, tensor.dtype)
    return found


def as_fed(file: File, sample: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
    """Real numbers by position as the inputs of a file hold them."""
    return {at: quantized(tensor, sample[at]) for at, tensor in enumerate(file.inputs())}


def as_batch(graph: Graph, sample: Mapping[int, np.ndarray]) -> dict[str, np.ndarray]:
    """Real numbers by position as a graph is fed with them."""
    return {key: sample[at] for at, key in enumerate(graph.input_keys)}


def _sizes(signature: tuple[int | None, ...]) -> Iterable[int]:
    return (size if size is not None else SAMPLES if axis == 0 else 16 for axis, size in enumerate(signature))


def takes(graph: Graph, sample: Mapping[int, np.ndarray]) -> bool:
    """Whether a graph takes inputs of these shapes, by position."""
    shapes = map(graph.shape, graph.inputs)
    return all(shape is None or fits(np.shape(sample[at]), shape) for at, shape in enumerate(shapes))


def fits(shape: tuple[int, ...], signature: tuple[int | None, ...]) -> bool:
    """Whether a file takes an array of this shape."""
    return len(shape) == len(signature) and all(b in (None, a) for a, b in zip(shape, signature, strict=True))

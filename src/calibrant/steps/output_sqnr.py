"""Step: how far the quantized network's outputs are from the float network's, on a few calibration samples."""

from __future__ import annotations

import numpy as np

from calibrant.algorithms.median_sqnr import median_sqnr_db
from calibrant.data.batches import Batches
from calibrant.graph.graph import Graph
from calibrant.graph.logits import before_softmax
from calibrant.graph.run import Runner
from calibrant.quantized_network import OutputSqnr

SAMPLES = 8


def output_sqnr(original: Graph, fakequant: Graph, batches: Batches) -> OutputSqnr | None:
    """Run both networks on the first calibration samples; None where no output is a floating-point number.

    Parameters
    ----------
    original, fakequant : Graph
        The model as it was read, and fake-quantized.
    batches : Batches
        The calibration data, which can be read again; the first SAMPLES samples are used, or the first batch where
        the model fixes it.
    """
    floats = [place for place, tensor in enumerate(original.outputs) if original.dtype(tensor).is_floating]
    if not floats:
        return None
    fed = _first_samples(original, batches)
    points = []
    for place in floats:
        tensors = original.outputs[place], fakequant.outputs[place]
        scores = before_softmax(original, tensors[0]), before_softmax(fakequant, tensors[1])
        points.append(tensors if scores[0] == tensors[0] or scores[1] == tensors[1] else scores)
    reference = _run(original, [point[0] for point in points], fed)
    outputs = _run(fakequant, [point[1] for point in points], fed)
    names = [original.output_keys[place] for place in floats]
    samples = sum(max((len(array) for array in batch if array.ndim), default=1) for batch in fed)
    ratios = (median_sqnr_db(first, second) for first, second in zip(reference, outputs, strict=True))
    return OutputSqnr(dict(zip(names, ratios, strict=True)), samples)


def _first_samples(graph: Graph, batches: Batches) -> list[list[np.ndarray]]:
    """Batches with the first samples, inputs in the order of the graph."""
    shapes = [graph.shape(tensor) for tensor in graph.inputs]
    is_open = all(shape is None or not shape or shape[0] is None for shape in shapes)
    fed, samples = [], 0
    for batch in batches:
        arrays = [batch[key] for key in graph.input_keys]
        if is_open:
            arrays = [array[: SAMPLES - samples] if array.ndim else array for array in arrays]
        fed.append(arrays)
        samples += max((len(array) for array in arrays if array.ndim), default=1)
        if samples >= SAMPLES:
            break
    return fed


def _run(graph: Graph, fetches: list[str], fed: list[list[np.ndarray]]) -> list[np.ndarray]:
    with Runner(graph, fetches) as runner:
        results = [
            [np.atleast_1d(np.array(value)) for value in runner(dict(zip(graph.input_keys, arrays, strict=True)))]
            for arrays in fed
        ]
    return [np.concatenate(parts) for parts in zip(*results, strict=True)]

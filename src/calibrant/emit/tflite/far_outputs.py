"""Outputs of a LiteRT file that have little to do with those of the fake-quantized model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from calibrant.algorithms.sqnr import arrays_sqnr_db
from calibrant.emit.tflite.sample import as_batch, takes
from calibrant.graph.graph import Graph
from calibrant.graph.running.run import run_once

FAR = 10.0
"""dB of SQNR below which an output is another one: more than a tenth of its squares differ."""


def far_outputs(
    original: Graph, fakequant: Graph, sample: Mapping[int, np.ndarray], outputs: Sequence[np.ndarray]
) -> dict[int, float]:
    """Position of an output → its SQNR in dB, for those below FAR; none where the sample is not of its sizes.

    An output that is no farther from the float model than the fake-quantized one is none of them: layers that 8 bits
    are too few for may be in float in the file alone.

    Parameters
    ----------
    original, fakequant : Graph
        The float and the fake-quantized model.
    sample : Mapping[int, np.ndarray]
        Inputs by position.
    outputs : Sequence[np.ndarray]
        What the file gives for them, real numbers.
    """
    if not takes(fakequant, sample):
        return {}
    reached = _run(fakequant, sample)
    far = far_apart(reached, outputs)
    if not far:
        return {}
    wanted = _run(original, sample)
    return {at: ratio for at, ratio in far.items() if _ratio(wanted[at], outputs[at]) < _ratio(wanted[at], reached[at])}


def _run(graph: Graph, sample: Mapping[int, np.ndarray]) -> list[np.ndarray]:
    return run_once(graph, as_batch(graph, sample))


def far_apart(wanted: Sequence[np.ndarray], found: Sequence[np.ndarray], limit: float = FAR) -> dict[int, float]:
    """Position of a pair → its SQNR in dB, for those below a limit; only real numbers of equal shapes are compared.

    Parameters
    ----------
    wanted, found : Sequence[np.ndarray]
        The outputs of two models.
    limit : float
        In dB.
    """
    pairs = enumerate(zip(wanted, found, strict=True))
    ratios = {at: _ratio(*pair) for at, pair in pairs if pair[0].dtype.kind == "f" and pair[0].shape == pair[1].shape}
    return {at: ratio for at, ratio in ratios.items() if ratio < limit}


def _ratio(wanted: np.ndarray, found: np.ndarray) -> float:
    """-inf where a number has become none."""
    lost = np.isfinite(wanted) & ~np.isfinite(found)
    return -math.inf if lost.any() else arrays_sqnr_db(wanted, found)

"""Outputs of a LiteRT file that have little to do with those of the fake-quantized model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from calibrant.algorithms.sqnr import arrays_sqnr_db
from calibrant.emit.tflite.sample import takes
from calibrant.graph.graph import Graph
from calibrant.graph.run import run_once

FAR = 10.0
"""dB of SQNR below which an output is another one: more than a tenth of its squares differ."""


def far_outputs(fakequant: Graph, sample: Mapping[int, np.ndarray], outputs: Sequence[np.ndarray]) -> dict[int, float]:
    """Position of an output → its SQNR in dB, for those below FAR; none where the sample is not of its sizes.

    Parameters
    ----------
    fakequant : Graph
        The fake-quantized model.
    sample : Mapping[int, np.ndarray]
        Inputs by position.
    outputs : Sequence[np.ndarray]
        What the file gives for them, real numbers.
    """
    if not takes(fakequant, sample):
        return {}
    return far_apart(run_once(fakequant, {key: sample[at] for at, key in enumerate(fakequant.input_keys)}), outputs)


def far_apart(wanted: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> dict[int, float]:
    """Position of a pair → its SQNR in dB, for those below FAR; only real numbers of equal shapes are compared.

    Parameters
    ----------
    wanted, found : Sequence[np.ndarray]
        The outputs of two models.
    """
    pairs = enumerate(zip(wanted, found, strict=True))
    ratios = {at: _ratio(*pair) for at, pair in pairs if pair[0].dtype.kind == "f" and pair[0].shape == pair[1].shape}
    return {at: ratio for at, ratio in ratios.items() if ratio < FAR}


def _ratio(wanted: np.ndarray, found: np.ndarray) -> float:
    """-inf where a number has become none."""
    lost = np.isfinite(wanted) & ~np.isfinite(found)
    return -math.inf if lost.any() else arrays_sqnr_db(wanted, found)

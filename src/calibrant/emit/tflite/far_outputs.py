"""Outputs of a LiteRT file that have little to do with those of the fake-quantized model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from calibrant.algorithms.sqnr import arrays_sqnr_db
from calibrant.graph.graph import Graph
from calibrant.graph.run import run_once

FAR = 10.0
"""dB of SQNR below which an output is worth a word."""


def far_outputs(fakequant: Graph, sample: Mapping[int, np.ndarray], outputs: Sequence[np.ndarray]) -> dict[int, float]:
    """Position of an output → its SQNR in dB, for those below FAR.

    Parameters
    ----------
    fakequant : Graph
        The fake-quantized model.
    sample : Mapping[int, np.ndarray]
        Inputs by position.
    outputs : Sequence[np.ndarray]
        What the file gives for them, real numbers.
    """
    wanted = run_once(fakequant, {key: sample[at] for at, key in enumerate(fakequant.input_keys)})
    found = {}
    for at, pair in enumerate(zip(wanted, outputs, strict=True)):
        if pair[0].dtype.kind != "f" or pair[0].shape != pair[1].shape:
            continue
        ratio = arrays_sqnr_db(*pair)
        if ratio < FAR:
            found[at] = ratio
    return found

"""Tensors whose codes cost an output of the network more than half of what all layers together do."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from calibrant.quantized_network import QuantizedInput, QuantizedNetwork
from calibrant.steps.refining.refine import NEGLIGIBLE_ERROR
from calibrant.steps.refining.whole_errors import WholeErrors, mean_sizes, whole_squares

Unit = Sequence[QuantizedInput]
"""The readers of a tensor."""
NOISE = 0.3
"""Error of the outputs, in their sizes, beyond which no tensor has codes, however much the layers cost (10 dB)."""
PART = 0.5
"""Of the error that all layers cause, from which on a tensor is too costly alone."""
MOST_RUNS = 24
"""Of the network, to find the tensors that cost most."""


def tolerable(network: QuantizedNetwork, whole: WholeErrors) -> np.ndarray:
    """The mean error of each output up to which a tensor has codes, float64 [outputs].

    Each output is judged by itself: the layers of one may cost it much, and codes that another one reads are no better
    for that.

    Parameters
    ----------
    network : QuantizedNetwork
        With its ranges as they stay.
    whole : WholeErrors
        Compares networks on the first samples.
    """
    return most_of(whole.by_output(network), whole.samples)


def most_of(errors: np.ndarray, samples: int) -> np.ndarray:
    """What a tensor may cost alone.

    Parameters
    ----------
    errors : np.ndarray
        Means of the sizes of the samples' errors with all layers rounded, float64.
    samples : int
        How many there are.
    """
    return np.clip(PART * errors, NEGLIGIBLE_ERROR / math.sqrt(samples), NOISE / math.sqrt(samples))


def too_costly(units: Sequence[Unit], network: QuantizedNetwork, whole: WholeErrors) -> list[str]:
    """Those of some tensors that cost an output more alone than is tolerable.

    They are looked for in halves, first where most is lost: one run where no output loses much, MOST_RUNS at most.

    Parameters
    ----------
    units : Sequence[Unit]
        The tensors.
    network : QuantizedNetwork
        With its ranges as they stay.
    whole : WholeErrors
        Compares networks on the first samples.
    """
    most = tolerable(network, whole)
    runs = 0
    waiting: list[tuple[float, int, Sequence[Unit]]] = []  # by cost, then in turn

    def weigh(part: Sequence[Unit]) -> None:
        nonlocal runs
        runs += 1
        rounded = replace(network, layers=(), tensors=tuple(entry for unit in part for entry in unit))
        cost = float((mean_sizes(whole_squares(rounded, whole.reference, whole.pieces)) / most).max())
        if cost > 1.0:
            heapq.heappush(waiting, (-cost, runs, part))

    found: list[Unit] = []
    if units:
        weigh(units)
    while waiting and runs < MOST_RUNS:
        _, _, part = heapq.heappop(waiting)
        if len(part) == 1:
            found += part
        else:
            half = len(part) // 2
            weigh(part[:half])
            weigh(part[half:])
    found += [unit for _, _, part in waiting if len(part) == 1 for unit in part]
    return [unit[0].tensor for unit in found]

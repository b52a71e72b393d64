"""Step: whether the calibration data are enough: how far the ranges move when the second half is left out."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from calibrant.algorithms.histogram import Histogram
from calibrant.algorithms.ifmr import quantization_errors
from calibrant.algorithms.sqnr import sqnr_db
from calibrant.graph.node_input import NodeInput
from calibrant.quantized_network import QuantizedInput, RangeMove


def range_moves(
    half: Mapping[NodeInput, QuantizedInput],
    whole: Mapping[NodeInput, QuantizedInput],
    histograms: Mapping[str, Histogram],
) -> tuple[RangeMove, ...]:
    """One row per quantized activation, the largest loss first.

    Parameters
    ----------
    half, whole : Mapping[NodeInput, QuantizedInput]
        What the search found in the first half of the batches, and in all of them.
    histograms : Mapping[str, Histogram]
        Tensor → all its values.
    """
    rows = [_move(entry, half[place], histograms[entry.tensor]) for place, entry in whole.items() if place in half]
    return tuple(sorted(rows, key=lambda row: (-row.loss_db, -row.moved, row.node, row.index)))


def _move(entry: QuantizedInput, half: QuantizedInput, histogram: Histogram) -> RangeMove:
    (low, high), (low_of_half, high_of_half) = entry.quantizer.range, half.quantizer.range
    moved = max(abs(low - low_of_half), abs(high - high_of_half)) / (high - low)
    both = (half.quantizer, entry.quantizer)
    scales, offsets = np.array([q.scale for q in both]), np.array([q.offset for q in both])
    with_half, with_all = quantization_errors(histogram, scales, offsets, entry.quantizer.bits)
    loss = sqnr_db(float(with_half), float(with_all))
    return RangeMove(entry.node, entry.index, moved, max(loss, 0.0) if math.isfinite(loss) else 0.0)

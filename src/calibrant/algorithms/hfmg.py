"""HFMG: the clipping range of an activation by greedily cutting a histogram.

After Caffe2's and PyTorch's norm minimization over a histogram, with the real quantizer's error as the score.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer, code_limits, qparams_from_ranges
from calibrant.algorithms.histogram import Histogram
from calibrant.algorithms.kernels import kernels
from calibrant.algorithms.search_result import SearchResult

_SLICES = 100_000


@dataclass(frozen=True)
class HfmgSettings:
    """Settings of the search.

    Parameters
    ----------
    num_of_bins : int
        Equal bins over the range of all values; at least 4.
    asymmetric : bool
        Whether the quantizer has an offset.
    bits : int
        Width of the codes, 2 to 16.
    """

    num_of_bins: int = 4096
    asymmetric: bool = True
    bits: int = 8


def search(histogram: Histogram, settings: HfmgSettings = HfmgSettings()) -> SearchResult:
    """The range with the least mean squared error among those that a greedy walk visits; of equal ones the widest.

    Every visited range is scored by its quantizer (zero included, offset rounded), with the values spread evenly inside
    each of the ``num_of_bins`` bins. Values outside count with their clipping error.

    Raises
    ------
    ValueError
        The histogram has seen no values, or there are fewer than 4 bins.
    """
    if settings.num_of_bins < 4:
        raise ValueError(f"at least 4 bins are needed, not {settings.num_of_bins}")
    low, high = histogram.minimum, histogram.maximum
    counts = equal_bins(histogram, settings.num_of_bins)
    width = (high - low) / settings.num_of_bins
    if width:
        edges = np.linspace(low, high, settings.num_of_bins + 1)
        lows, highs = edges[greedy_ranges(counts).T]
    else:
        lows, highs = np.array([low]), np.array([high])
    scales, offsets = qparams_from_ranges(lows, highs, settings.bits, settings.asymmetric)
    if width:
        errors, power = _errors(counts, low, width, scales, offsets, settings.bits)
    else:
        errors, power = np.square(Quantizer(scales[0], offsets[0], settings.bits).fake_quantize(lows) - lows), low**2
    best = int(errors.argmin())
    return SearchResult(
        quantizer=Quantizer(scales[best], int(offsets[best]), settings.bits),
        low=float(lows[best]),
        high=float(highs[best]),
        mean_squared_error=float(errors[best]),
        signal_power=float(power),
        low_is_exact=True,
        high_is_exact=True,
        candidates=len(errors),
    )


def equal_bins(histogram: Histogram, num_of_bins: int) -> np.ndarray:
    """Counts (float64 [num_of_bins]) in equal bins over [minimum, maximum] of the values.

    A fine bin that straddles an edge is divided: its values are taken as spread evenly, around their mean, as far as
    the bin reaches on both sides of it. So whole numbers and other repeated values that sit on a fine bin's edge stay
    undivided. Bins are half open, the last one is closed.
    """
    edges = np.linspace(histogram.minimum, histogram.maximum, num_of_bins + 1)
    cumulated = histogram.spread_below(np.nextafter(edges, -np.inf))
    cumulated[0], cumulated[-1] = 0.0, histogram.count
    return np.diff(cumulated)


def greedy_ranges(counts: np.ndarray) -> np.ndarray:
    """The ranges [start, end) of bins that the walk visits, the whole one first; int64 [ranges, 2].

    A step cuts the shortest run of bins at one end that holds the next slice, max(total / 100000, 1), of the counts:
    at the end where that is more bins, or else fewer counts, or else on the right. It goes on until a quarter of the
    bins is left, or less if the last run is long; one bin always stays.
    """
    cumulated = np.concatenate([[0.0], np.cumsum(counts)])
    return kernels().greedy_walk(cumulated, max(float(cumulated[-1]) / _SLICES, 1.0))


def _errors(
    counts: np.ndarray, low: float, width: float, scales: np.ndarray, offsets: np.ndarray, bits: int
) -> tuple[np.ndarray, float]:
    centres = low + (np.arange(len(counts)) + 0.5) * width
    total = counts.sum()
    power = float(np.sum(counts * (centres * centres + width * width / 12)) / total)
    scales, offsets = scales.astype(np.float64), offsets.astype(np.int64)
    high = low + len(counts) * width
    lowest, highest = code_limits(bits)
    above = kernels().gains_of_uniform_bins(scales, highest - offsets, _sums_outwards(counts, centres), low, width)
    below = kernels().gains_of_uniform_bins(
        scales, offsets - lowest, _sums_outwards(counts[::-1], -centres[::-1]), -high, width
    )
    return np.maximum(power - (above + below) / total, 0.0), power


def _sums_outwards(counts: np.ndarray, centres: np.ndarray) -> np.ndarray:
    rows = np.stack([counts, counts * centres], axis=1)
    return np.concatenate([np.cumsum(rows[::-1], axis=0)[::-1], np.zeros((1, 2))])

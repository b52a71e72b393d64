"""IFMR: the clipping range of an activation by searching around its percentiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer, code_limits, qparams_from_ranges
from calibrant.algorithms.decimal_grid import decimal_grid
from calibrant.algorithms.histogram import Histogram
from calibrant.algorithms.kernels import kernels
from calibrant.algorithms.promising_pairs import promising_pairs
from calibrant.algorithms.search_result import SearchResult

# The error, relative to the signal's power, that float32 arithmetic leaves where it should be zero.
_RESOLUTION = 2.0**-46
ALL_PAIRS = 2**14
"""Number of pairs of bounds up to which all are evaluated."""


@dataclass(frozen=True)
class IfmrSettings:
    """Settings of the search.

    Parameters
    ----------
    search_range_start, search_range_end, search_step : float
        The ratios that are tried on either bound, the end included.
    max_percentile, min_percentile : float
        The percentiles from which the bounds start, in (0, 1].
    asymmetric : bool
        Whether the bounds are searched independently, with an offset.
    bits : int
        Width of the codes, 2 to 16.
    """

    search_range_start: float = 0.7
    search_range_end: float = 1.3
    search_step: float = 0.01
    max_percentile: float = 0.999999
    min_percentile: float = 0.999999
    asymmetric: bool = True
    bits: int = 8


def search(histogram: Histogram, settings: IfmrSettings = IfmrSettings()) -> SearchResult:
    """The candidate range with the least mean squared error over all values of the histogram.

    Candidates are every ratio of the lower bound with every ratio of the upper one if asymmetric, else one ratio for
    both. Candidates whose errors differ by less than float32 arithmetic resolves (2^-46 of the signal's power) tie. Of
    these the one wins whose ratios are nearest to 1: by the sum of the two distances |ratio - 1|, then by the larger
    of the two, then the wider upper bound, then the wider lower bound. A bound of zero has the one ratio 1.

    Raises
    ------
    ValueError
        The histogram has seen no values, or settings are out of range.
    """
    top = histogram.value_from_top(settings.max_percentile)
    bottom = histogram.value_from_bottom(settings.min_percentile)
    low, high = min(bottom.value, 0.0), max(top.value, 0.0)
    ratios = decimal_grid(settings.search_range_start, settings.search_range_end, settings.search_step)
    if settings.asymmetric:
        low_ratios, high_ratios = _pairs(histogram, low, high, ratios, settings.bits)
        candidates = ratios.size ** ((low < 0) + (high > 0))
    else:
        low_ratios = high_ratios = ratios if low or high else np.ones(1)
        candidates = high_ratios.size
    scales, offsets = qparams_from_ranges(low * low_ratios, high * high_ratios, settings.bits, settings.asymmetric)
    errors = quantization_errors(histogram, scales, offsets, settings.bits)
    power = histogram.power
    (tied,) = (errors <= errors.min() + _RESOLUTION * power).nonzero()
    best = tied[_preferred(low_ratios[tied], high_ratios[tied])]
    return SearchResult(
        quantizer=Quantizer(scales[best], int(offsets[best]), settings.bits),
        low=float(low * low_ratios[best]),
        high=float(high * high_ratios[best]),
        mean_squared_error=float(errors[best]),
        signal_power=power,
        low_is_exact=bottom.exact,
        high_is_exact=top.exact,
        candidates=candidates,
    )


def quantization_errors(histogram: Histogram, scales: np.ndarray, offsets: np.ndarray, bits: int = 8) -> np.ndarray:
    """Mean squared error (float64) of the histogram's values under each quantizer (scales[i], offsets[i]).

    All values of a bin are taken at their mean. The error with nothing but level zero is the signal's power; every
    further level takes its gain off (`calibrant.algorithms.kernels_numpy.gains`).
    """
    scales, offsets = scales.astype(np.float64), offsets.astype(np.int64)
    errors = np.full(len(scales), histogram.power * histogram.count)
    lowest, highest = code_limits(bits)
    for negative, levels in ((False, highest - offsets), (True, offsets - lowest)):
        if levels.any():
            table, first_key = histogram.sums_outwards(negative, least=scales.min() / 2)
            errors -= kernels().gains(scales, levels, table, first_key)
    return np.maximum(errors, 0.0) / histogram.count


def _pairs(
    histogram: Histogram, low: float, high: float, ratios: np.ndarray, bits: int
) -> tuple[np.ndarray, np.ndarray]:
    """Every low ratio with every high one, the high ones running fastest; of very many only those that can win."""
    lows, highs = (ratios if bound else np.ones(1) for bound in (low, high))
    if lows.size * highs.size > ALL_PAIRS:
        (widest,), _ = qparams_from_ranges(low * lows[-1:], high * highs[-1:], bits)
        if widest != np.float32((high * highs[-1] - low * lows[-1]) / (2**bits - 1)):
            # All have the smallest scale there is, so the upper bound makes no difference.
            highs = highs[np.argsort(np.abs(highs - 1), kind="stable")[:2]]
        else:

            def score(low_index: np.ndarray, high_index: np.ndarray) -> np.ndarray:
                factors = qparams_from_ranges(low * lows[low_index], high * highs[high_index], bits)
                return quantization_errors(histogram, *factors, bits)

            low_index, high_index = promising_pairs(histogram, -low * lows, high * highs, bits, score)
            return lows[low_index], highs[high_index]
    return np.repeat(lows, highs.size), np.tile(highs, lows.size)


def _preferred(low_ratios: np.ndarray, high_ratios: np.ndarray) -> int:
    """The place of the pair that `search` prefers; distances count to twelve decimals, for 1 - 0.7 is not 0.3."""
    low, high = (np.rint(np.abs(ratios - 1) * 1e12) for ratios in (low_ratios, high_ratios))
    return int(np.lexsort((-low_ratios, -high_ratios, np.maximum(low, high), low + high))[0])

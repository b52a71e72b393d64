"""The result of a search over clipping ranges, the same for IFMR and HFMG."""

from __future__ import annotations

from dataclasses import dataclass

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.algorithms.code_use import CodeUse


@dataclass(frozen=True)
class SearchResult:
    """The best quantizer of a search.

    Parameters
    ----------
    quantizer : Quantizer
        The quantizer of the best range.
    low, high : float
        The best clipping range in real units; low <= 0 <= high for IFMR.
    mean_squared_error : float
        Mean of (x - x')^2 over all calibration values, clipped ones included, as estimated by the search.
    signal_power : float
        Mean of x^2 over the same values.
    low_is_exact, high_is_exact : bool
        Whether the order statistics from which the range started are exact, rather than the mean of a histogram bin.
    candidates : int
        Number of ranges that were compared.
    use : CodeUse | None
        The values' use of codes; None if it was not asked for.
    reach : float
        The largest magnitude of the values, where the range was cut to a part of theirs; else 0.
    """

    quantizer: Quantizer
    low: float
    high: float
    mean_squared_error: float
    signal_power: float
    low_is_exact: bool
    high_is_exact: bool
    candidates: int
    use: CodeUse | None = None
    reach: float = 0.0

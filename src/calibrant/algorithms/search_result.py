"""What a search over clipping ranges finds; the same for IFMR and HFMG."""

from __future__ import annotations

from dataclasses import dataclass

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.algorithms.code_use import CodeUse


@dataclass(frozen=True)
class SearchResult:
    """The best quantizer of a search.

    Parameters
    ----------
    quantizer : factors of the winning range.
    low, high : the winning clipping range in real units, low <= 0 <= high for IFMR.
    mean_squared_error : mean of (x - x')^2 over all calibration values, clipped ones included, as the search saw it.
    signal_power : mean of x^2 over the same values.
    low_is_exact, high_is_exact : whether the order statistics that the range started from are exact, and not the mean
        of a histogram bin.
    candidates : how many ranges were compared.
    use : what codes the values get; None where that was not asked for.
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

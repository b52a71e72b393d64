"""Signal-to-quantization-noise ratio."""

from __future__ import annotations

import math


def sqnr_db(signal: float, noise: float) -> float:
    """10·log10(signal / noise), in decibels.

    Parameters
    ----------
    signal, noise : float
        Sums of squares of the reference and of the difference, >= 0.

    Returns
    -------
    float
        Infinite without noise; -inf where there is noise alone.
    """
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf

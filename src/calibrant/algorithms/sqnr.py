"""Signal-to-quantization-noise ratio."""

from __future__ import annotations

import math

import numpy as np

from calibrant.algorithms.finite_pair import finite_pair


def sqnr_db(signal: float, noise: float) -> float:
    """10·log10(signal / noise), in decibels.

    Parameters
    ----------
    signal, noise : float
        Sums of squares of the reference and of the difference, >= 0.

    Returns
    -------
    float
        Infinite without noise; -inf where there is noise alone, or more than any number.
    """
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 and math.isfinite(noise) else -math.inf


def arrays_sqnr_db(reference: np.ndarray, outputs: np.ndarray) -> float:
    """The same for two arrays of one shape.

    Parameters
    ----------
    reference, outputs : np.ndarray
        Values that are not finite count as of :func:`calibrant.algorithms.finite_pair.finite_pair`.
    """
    first, second = finite_pair(reference, outputs)
    return sqnr_db(float(np.square(first).sum()), float(np.square(first - second).sum()))

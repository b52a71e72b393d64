"""Values to be compared of which some are infinite or not numbers, such as the logarithm of a zero."""

from __future__ import annotations

import numpy as np


def finite_pair(reference: np.ndarray, outputs: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64; what is not finite in the reference does not count, what is so in the outputs alone is all lost.

    Parameters
    ----------
    reference, outputs : np.ndarray
        Of one shape, or a number as outputs.

    Returns
    -------
    tuple[np.ndarray, np.ndarray]
        Finite values; 0 in both where the reference is not finite, and 0 in the second where only that is not finite.
    """
    first = np.asarray(reference, np.float64)
    second = np.broadcast_to(np.asarray(outputs, np.float64), first.shape)
    counted = np.isfinite(first)
    return np.where(counted, first, 0.0), np.where(counted & np.isfinite(second), second, 0.0)

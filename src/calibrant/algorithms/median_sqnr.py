"""Signal-to-quantization-noise ratio of the median sample, which one sample with huge values cannot decide."""

from __future__ import annotations

import math

import numpy as np


def median_sqnr_db(reference: np.ndarray, outputs: np.ndarray) -> float:
    """10·log10(Σ reference² / Σ (outputs - reference)²) in decibels of the median sample.

    Parameters
    ----------
    reference, outputs : np.ndarray
        [N, ...] of one shape; samples without a signal do not count.

    Returns
    -------
    float
        Infinite without a difference, negative infinite where there is only noise.
    """
    first = np.asarray(reference, np.float64).reshape(len(reference), -1)
    second = np.asarray(outputs, np.float64).reshape(len(outputs), -1)
    signal, noise = np.square(first).sum(axis=1), np.square(second - first).sum(axis=1)
    if not signal.any():
        return -math.inf if noise.any() else math.inf
    ratio = float(np.median(noise[signal > 0] / signal[signal > 0]))
    return -10 * math.log10(ratio) if ratio else math.inf

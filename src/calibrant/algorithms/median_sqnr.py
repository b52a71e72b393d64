"""Signal-to-quantization-noise ratio of the median sample, which one sample with huge values cannot decide.

A sample of one number has no ratio that says something where that number is near zero: of those, the median noise is
compared with the median signal. Where most samples are exact, all noise is compared with all of the signal.
"""

from __future__ import annotations

import math

import numpy as np

from calibrant.algorithms.finite_pair import finite_pair


def median_sqnr_db(reference: np.ndarray, outputs: np.ndarray) -> float:
    """10·log10(Σ reference² / Σ (outputs - reference)²) in decibels of the median sample.

    Parameters
    ----------
    reference, outputs : np.ndarray
        [N, ...] of one shape; samples without a signal do not count.

    Returns
    -------
    float
        Infinite without a difference, negative infinite where there is only noise. Values that are not finite count as
        of :func:`calibrant.algorithms.finite_pair.finite_pair`.
    """
    if not reference.size:
        return math.inf
    first, second = (values.reshape(len(values), -1) for values in finite_pair(reference, outputs))
    signal, noise = np.square(first).sum(axis=1), np.square(second - first).sum(axis=1)
    if not signal.any():
        return -math.inf if noise.any() else math.inf
    heard = signal > 0
    if first.shape[1] == 1:
        ratio = float(np.median(noise[heard]) / np.median(signal[heard]))
    else:
        ratio = float(np.median(noise[heard] / signal[heard]))
    ratio = ratio or float(noise.sum() / signal.sum())
    return 10 * math.log10(1 / ratio) if ratio else math.inf

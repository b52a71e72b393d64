"""Histograms of given values."""

from __future__ import annotations

import numpy as np

from calibrant.algorithms.histogram import Histogram


def histogram_of(*batches):
    """The histogram that has seen these batches."""
    histogram = Histogram()
    for batch in batches:
        histogram.update(np.asarray(batch, np.float32))
    return histogram

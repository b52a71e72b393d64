"""The clipping bounds of the sorted array, as the specification says them."""

from fractions import Fraction

import numpy as np


def from_top(values, percentile: str) -> float:
    """The value at ``percentile`` (a decimal) of all values in ascending order."""
    ascending = np.sort(np.asarray(values, np.float32).reshape(-1))
    return float(ascending[-max(1, len(ascending) - int(Fraction(percentile) * len(ascending)))])


def from_bottom(values, percentile: str) -> float:
    """The value at ``percentile`` of all values in descending order."""
    return -from_top(-np.asarray(values, np.float32), percentile)

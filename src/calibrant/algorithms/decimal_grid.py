"""Numbers counted in decimal, from a first one in equal steps."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np

from calibrant.algorithms.arithmetic import shortest_decimal

MOST_NUMBERS = 2**20
"""Most numbers of a grid. A finer one is thinned; its neighbours are about as close as float32 numbers."""


def decimal_grid(start: float, end: float, step: float) -> np.ndarray:
    """start, start + step, … up to and including end, float64, ascending: 0.7 to 1.3 by 0.01 gives 61 numbers.

    The three numbers count as the decimals that were written, and the grid is computed in decimal. If there would be
    more than ``MOST_NUMBERS`` numbers, only every second, third, … is taken, to within rounding, as needed.

    Raises
    ------
    ValueError
        A number is not finite, step is not positive, or start > end.
    """
    if not all(math.isfinite(number) for number in (start, end, step)) or step <= 0 or start > end:
        raise ValueError(f"cannot count from {start} to {end} in steps of {step}")
    first, last, distance = (shortest_decimal(number) for number in (start, end, step))
    count = int((last - first) / distance) + 1
    if count > MOST_NUMBERS:
        stride = -(-count // MOST_NUMBERS)
        return float(first) + float(distance * stride) * np.arange(-(-count // stride))
    places = max(-int(number.as_tuple().exponent) for number in (first, distance, Decimal(0)))
    if places <= 22 and last * 10**places < 2**53:  # both are exact in float64, so the quotient is rounded once
        numerators = int(first * 10**places) + int(distance * 10**places) * np.arange(count, dtype=np.int64)
        return numerators / 10.0**places
    return np.array([float(first + distance * index) for index in range(count)])

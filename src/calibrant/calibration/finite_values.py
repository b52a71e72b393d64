"""Values that have to be numbers, of which nothing else is collected."""

from __future__ import annotations

import numpy as np

from calibrant.algorithms.histogram import NonFiniteError


class FiniteValues:
    """A statistic without content that refuses NaN, and batches without a finite value.

    Some values may be infinite, as masks and logarithms make them.
    """

    kind = "numbers"

    def update(self, values: np.ndarray) -> None:
        """Look at one batch.

        Raises
        ------
        NonFiniteError
            There are NaN, or infinite values alone.
        """
        are_finite = np.isfinite(values)
        if are_finite.all():
            return
        nan, infinite = int(np.isnan(values).sum()), int(np.isinf(values).sum())
        if nan or not are_finite.any():
            raise NonFiniteError(nan, infinite)

    def merge_from(self, other: FiniteValues) -> None:
        """Add nothing."""

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Nothing."""
        return {}

    def merge_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Add nothing."""

"""Values that have to be numbers, of which nothing else is collected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibrant.algorithms.histogram import NonFiniteError


@dataclass(frozen=True)
class FiniteValues:
    """A statistic without content that refuses NaN.

    Parameters
    ----------
    or_infinite : bool
        Whether infinite values are accepted.
    """

    or_infinite: bool = False

    @property
    def kind(self) -> str:
        """What is collected, in words."""
        return "numbers or infinities" if self.or_infinite else "numbers"

    def update(self, values: np.ndarray) -> None:
        """Look at one batch.

        Raises
        ------
        NonFiniteError
            There are NaN, or infinite values that are not accepted.
        """
        if np.isfinite(values).all():
            return
        nan, infinite = int(np.isnan(values).sum()), int(np.isinf(values).sum())
        if nan or not self.or_infinite:
            raise NonFiniteError(nan, infinite)

    def merge_from(self, other: FiniteValues) -> None:
        """Add nothing."""

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Nothing."""
        return {}

    def merge_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Add nothing."""

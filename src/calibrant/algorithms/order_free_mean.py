"""Means over positions that do not depend on the order of the batches, nor on who saw which."""

from __future__ import annotations

import numpy as np

from calibrant.algorithms.ordered_sum import OrderFreeSum


class OrderFreeMean:
    """The sum of arrays of one shape, and the number of positions in it; both exact to merge and to store."""

    __slots__ = ("_sum", "count")
    __hash__ = None  # type: ignore[assignment]  # mutable

    def __init__(self) -> None:
        self.count = 0  # positions seen, over all batches
        self._sum: OrderFreeSum | None = None

    def add(self, sums: np.ndarray, count: int) -> None:
        """Add the finite float64 sums over ``count`` positions."""
        if self._sum is None:
            self._sum = OrderFreeSum(sums.shape)
        self._sum.add(sums)
        self.count += count

    def merge_from(self, other: OrderFreeMean) -> None:
        """Add what another one has seen."""
        if other._sum is not None:
            seen = OrderFreeSum(other._sum.to_array().shape[1:]) if self._sum is None else self._sum
            self._sum = seen.merge(other._sum)
            self.count += other.count

    def value(self) -> np.ndarray:
        """The mean, float64.

        Raises
        ------
        ValueError
            Nothing has been seen.
        """
        if self._sum is None or not self.count:
            raise ValueError("no patches have been seen")
        return self._sum.total() / self.count

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The state, for storing it; empty before the first batch."""
        return {} if self._sum is None else {"count": np.array(self.count, np.int64), "sum": self._sum.to_array()}

    def merge_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Add a state from :meth:`to_arrays`.

        Raises
        ------
        ValueError
            The arrays are not such a state, or their sums have another shape.
        """
        other = OrderFreeMean()
        if arrays:
            count = arrays["count"]
            if count.shape or count.dtype.kind not in "iu" or count < 1:
                raise ValueError(f"a mean over {count} positions")
            other.count = int(count)
            other._sum = OrderFreeSum.from_array(arrays["sum"])
        self.merge_from(other)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OrderFreeMean):
            return NotImplemented
        return self.count == other.count and self._sum == other._sum

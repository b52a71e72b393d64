"""Numbers counted in decimal, from a first one in equal steps, however many they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

from calibrant.algorithms.arithmetic import shortest_decimal


@dataclass(frozen=True)
class DecimalGrid:
    """start, start + step, … up to and including end: 0.7 to 1.3 by 0.01 gives 61 numbers. Never held as a whole."""

    start: Decimal
    step: Decimal
    count: int

    @classmethod
    def between(cls, start: float, end: float, step: float) -> DecimalGrid:
        """The grid of three numbers as they were written.

        Raises
        ------
        ValueError : unless the three are finite, step is positive and start <= end.
        """
        if not all(math.isfinite(number) for number in (start, end, step)) or step <= 0 or start > end:
            raise ValueError(f"cannot count from {start} to {end} in steps of {step}")
        first, last, distance = (shortest_decimal(number) for number in (start, end, step))
        return cls(first, distance, int((last - first) / distance) + 1)

    def number(self, index: int) -> float:
        """The number at an index, 0 to count - 1."""
        return float(self.start + self.step * index)


@dataclass(frozen=True)
class Span:
    """A run of a grid's indices, of which only every ``stride``-th is looked at."""

    first: int
    last: int
    stride: int

    @classmethod
    def over(cls, first: int, last: int, most: int) -> Span:
        """The span that looks at no more than ``most`` + 1 indices; ``most`` is 5 or more, so that spans shrink."""
        return cls(first, last, -(-(last - first + 1) // most))

    def indices(self) -> list[int]:
        """The indices that are looked at, ascending; both ends are among them."""
        return [*range(self.first, self.last, self.stride), self.last]

    def around(self, position: int, most: int) -> Span:
        """What lies between the neighbours of the index at a position of :meth:`indices`."""
        index = min(self.first + position * self.stride, self.last)
        return Span.over(max(self.first, index - self.stride), min(self.last, index + self.stride), most)

"""Sums of float64 arrays that do not depend on the order of the summands, nor on how they are grouped."""

from __future__ import annotations

import numpy as np

_DIGIT_BITS = 32
_HALF = 1 << (_DIGIT_BITS - 1)
_FRACTION_DIGITS = 2
DIGITS = 4
"""Of 64 bits each, for every number that is summed up."""
_LARGEST = 2.0**84


class OrderFreeSum:
    """Fixed-point integers of 192 bits: four digits of 32 bits with 2^-64 as the last place, kept in int64 each.

    A summand is rounded to 2^-64 and cut at ±2^84, integers are added from there on, so that any order and any grouping
    of the same summands gives the same state, bit for bit; also where some were added exactly beforehand. Good for 2^30
    summands.

    Parameters
    ----------
    shape : tuple[int, ...]
        Shape of the arrays that are added.
    """

    __slots__ = ("_digits",)
    __hash__ = None  # type: ignore[assignment]  # mutable

    def __init__(self, shape: tuple[int, ...]):
        self._digits = np.zeros((DIGITS, *shape), np.int64)

    def add(self, values: np.ndarray) -> None:
        """Add a finite float64 array of the shape."""
        rest = np.clip(values, -_LARGEST, _LARGEST)
        for place in range(DIGITS):
            unit = 2.0 ** (_DIGIT_BITS * (DIGITS - 1 - place - _FRACTION_DIGITS))
            digit = np.rint(rest / unit)
            rest = rest - digit * unit
            self._digits[place] += digit.astype(np.int64)

    def merge(self, other: OrderFreeSum) -> OrderFreeSum:
        """A new sum of the summands of both."""
        return OrderFreeSum.from_array(self._digits + other._digits)

    def to_array(self) -> np.ndarray:
        """The state, int64 (4, *shape), the same for equal sums: all digits but the first are -2^31 … 2^31 - 1."""
        digits = self._digits.copy()
        for place in range(DIGITS - 1, 0, -1):
            carried = (digits[place] + _HALF) >> _DIGIT_BITS
            digits[place] -= carried << _DIGIT_BITS
            digits[place - 1] += carried
        return digits

    @classmethod
    def from_array(cls, digits: np.ndarray) -> OrderFreeSum:
        """The sum whose state :meth:`to_array` gave.

        Raises
        ------
        ValueError
            The array is no such state.
        """
        if digits.dtype.kind != "i" or digits.shape[:1] != (DIGITS,):
            raise ValueError(f"a sum of type {digits.dtype} and shape {list(digits.shape)}")
        result = cls(digits.shape[1:])
        result._digits[:] = digits
        return result

    def total(self) -> np.ndarray:
        """The sum as float64, from the lowest digit up."""
        digits = self.to_array()
        result = np.zeros(digits.shape[1:])
        for place in reversed(range(DIGITS)):
            unit = 2.0 ** (_DIGIT_BITS * (DIGITS - 1 - place - _FRACTION_DIGITS))
            result += digits[place].astype(np.float64) * unit
        return result

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OrderFreeSum) and np.array_equal(self.to_array(), other.to_array())

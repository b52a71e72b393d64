"""The part of an operand's range that counts: beyond it a sum is at an end of its own range anyway."""

from __future__ import annotations

import numpy as np

Range = tuple[float, float]
"""The lowest and the highest number, with 0 among them."""

MOST_STEPS = 2.0**30
"""A number of more steps overflows where it becomes a code."""
MARGIN = 1 / 64
"""Of the range, beyond what counts: a few codes more, as codes are rounded."""


def range_of(values: np.ndarray) -> Range:
    """That of a constant's finite numbers.

    Parameters
    ----------
    values : np.ndarray
        Numbers of any shape.
    """
    finite = values[np.isfinite(values)]
    return float(finite.min(initial=0)), float(finite.max(initial=0))


def counted(operation: str, position: int, own: Range, other: Range, made: Range) -> Range:
    """The part of an operand's range that changes the code of a sum or a difference.

    Parameters
    ----------
    operation : str
        ``'Add'`` or ``'Sub'``.
    position : int
        Of the operand, 0 or 1.
    own, other, made : Range
        Of the operand, of the other one and of the result.
    """
    low, high = made
    if operation == "Add":
        low, high = low - other[1], high - other[0]
    elif position == 0:
        low, high = low + other[0], high + other[1]
    else:
        low, high = other[0] - high, other[1] - low
    return part(own, (low, high))


def part(own: Range, limits: Range) -> Range:
    """A range without what is clearly beyond its limits.

    Parameters
    ----------
    own, limits : Range
        The range, and what of it counts.
    """
    low, high = max(own[0], min(limits[0], 0.0)), min(own[1], max(limits[1], 0.0))
    margin = MARGIN * (high - low)
    return max(own[0], low - margin), min(own[1], high + margin)

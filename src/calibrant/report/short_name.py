"""Names of layers where there is little room."""

from __future__ import annotations


def middle_cut(name: str, length: int) -> str:
    """A name with its middle left out where it is longer than ``length`` characters, 4 or more.

    The end tells layers apart more often than the beginning, so two thirds of what is left are of the end.
    """
    if len(name) <= length:
        return name
    front = (length - 1) // 3
    return f"{name[:front]}…{name[-(length - 1 - front) :]}"

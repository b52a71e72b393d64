"""What is simulated at once: all tensors of a network with long sequences are gigabytes together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

MOST_NUMBERS = 1 << 25
"""In one part."""
MOST_PARTS = 16
"""However many numbers there are: each part may run the network again."""

_Item = TypeVar("_Item")


def in_parts(items: Sequence[_Item], sizes: Sequence[int]) -> Iterator[list[_Item]]:
    """The items in their order, in parts of no more than :data:`MOST_NUMBERS` unless those would be too many.

    Parameters
    ----------
    items : Sequence[_Item]
        What is simulated.
    sizes : Sequence[int]
        How many numbers each takes.
    """
    most = max(MOST_NUMBERS, sum(sizes) // MOST_PARTS)
    part: list[_Item] = []
    room = most
    for item, size in zip(items, sizes, strict=True):
        if part and size > room:
            yield part
            part, room = [], most
        part.append(item)
        room -= size
    if part:
        yield part

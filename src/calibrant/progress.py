"""How long work reports how far it is, without knowing whether a terminal is there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

Track = Callable[[Iterable[Any], str, "int | None"], Iterable[Any]]
"""``track(items, description, total)`` hands the items on, one by one, and shows how many have passed."""


def untracked(items: Iterable[Any], description: str, total: int | None) -> Iterator[Any]:
    """Hand the items on and show nothing."""
    yield from items

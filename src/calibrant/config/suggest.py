"""Closest existing names, within a bounded amount of work however many names a graph has and a file gets wrong."""

from __future__ import annotations

from collections.abc import Iterable

from calibrant.errors import did_you_mean

_COMPARISONS = 200_000
_LONGEST = 300


class Suggester:
    """Words hints for unknown names, until its budget of comparisons is used up."""

    def __init__(self) -> None:
        self._left = _COMPARISONS

    def closest(self, word: str, candidates: Iterable[str]) -> str | None:
        """A hint with the closest candidates; the same name in other case or at the end of a path comes first."""
        names = list(candidates)
        bare = word.split(":")[0].lstrip("^").lower()
        same = [name for name in names if name.lower() == bare or name.lower().rpartition("/")[2] == bare][:3]
        if same:
            return "did you mean " + " or ".join(repr(name) for name in same) + "?"
        near = [name for name in names if abs(len(name) - len(word)) <= max(len(word), len(name)) * 0.5]
        if len(near) > self._left or len(word) > _LONGEST:
            return None
        self._left -= len(near)
        return did_you_mean(word, near)

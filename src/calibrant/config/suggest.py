"""Closest existing names, within a bounded amount of work however many names a graph has and a file gets wrong."""

from __future__ import annotations

import heapq
from collections.abc import Collection
from os.path import commonprefix

from calibrant.errors import did_you_mean

_COMPARISONS = 400_000
_FINALISTS = 30
_LONGEST = 300


class Suggester:
    """Words hints for unknown names, until its budget of comparisons is used up."""

    def __init__(self) -> None:
        self._left = _COMPARISONS

    def closest(self, word: str, names: Collection[str]) -> str | None:
        """A hint with the closest names: the same one in other case or as the end of a path, else the most similar."""
        if len(names) > self._left or len(word) > _LONGEST:
            return None
        self._left -= len(names)
        bare = word.split(":")[0].lstrip("^").lower()
        same = [name for name in names if name.lower() == bare or name.lower().endswith("/" + bare)][:3]
        if same and bare:
            return "did you mean " + " or ".join(repr(name) for name in same) + "?"
        finalists = heapq.nlargest(_FINALISTS, names, key=lambda name: _shared_ends(word, name))
        return did_you_mean(word, finalists)


def _shared_ends(word: str, name: str) -> float:
    """How much of two names is the same at their beginnings and ends, as a share of the longer one."""
    start = len(commonprefix((word, name)))
    end = len(commonprefix((word[start:][::-1], name[start:][::-1])))
    return (start + end) / max(len(word), len(name), 1)

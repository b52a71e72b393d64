"""The outermost values of a stream, kept exactly, so that percentiles near the end are true order statistics."""

from __future__ import annotations

import numpy as np

from calibrant.algorithms.packed_bins import TAIL

_ROOM = 3 * TAIL
_ALL = -(2**31) - 1


class Tail:
    """The TAIL largest of the int32 values it was given, ties included."""

    __slots__ = ("_candidates", "_held", "_kept", "threshold")

    def __init__(self) -> None:
        self.threshold = _ALL  # values up to this one are not needed
        self._kept = np.empty(0, np.int32)  # ascending
        self._candidates: list[np.ndarray] = []  # offered since
        self._held = 0

    def add(self, values: np.ndarray, threshold: int = _ALL) -> None:
        """Offer int32 values, in any order; TAIL of all those offered so far reach the threshold."""
        self.threshold = max(self.threshold, threshold)
        if values.size:
            self._candidates.append(values)
            self._held += values.size
        if self._held > (TAIL if self.threshold == _ALL else _ROOM):
            self.values()

    def values(self) -> np.ndarray:
        """The kept values, ascending: int32 [at most TAIL]."""
        if self._candidates:
            kept = np.concatenate([self._kept, *self._candidates])
            if kept.size > TAIL:
                kept = np.partition(kept, kept.size - TAIL)[-TAIL:]
            self._kept, self._candidates, self._held = np.sort(kept), [], 0
            if kept.size == TAIL:
                self.threshold = max(self.threshold, int(self._kept[0]))
        return self._kept

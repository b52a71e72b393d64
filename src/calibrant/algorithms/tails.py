"""The outermost values of a stream, kept exactly, so that percentiles near the end are true order statistics."""

from __future__ import annotations

import numpy as np

from calibrant.algorithms.kernels import TAIL, kernels, ordered_bits

_ROOM = 3 * TAIL
_ALL = -(2**31) - 1
_SAMPLE = 4 * TAIL
_WORTH_GUESSING = 64 * TAIL


class Tail:
    """The TAIL largest of the int32 it was given, with ties as often as they came."""

    __slots__ = ("_candidates", "_held", "_kept", "threshold")

    def __init__(self):
        self.threshold: int | None = None  # values up to this one are not needed; None: all are
        self._kept = np.empty(0, np.int32)  # ascending
        self._candidates: list[np.ndarray] = []  # offered since
        self._held = 0

    def add(self, values: np.ndarray) -> None:
        """Offer int32 values, in any order."""
        if values.size:
            self._candidates.append(values)
            self._held += values.size
        if self._held > (_ROOM if self.threshold is not None else TAIL):
            self.values()

    def values(self) -> np.ndarray:
        """All that is kept, ascending: int32 [at most TAIL]."""
        if self._candidates:
            kept = np.concatenate([self._kept, *self._candidates])
            if kept.size > TAIL:
                kept = np.partition(kept, kept.size - TAIL)[-TAIL:]
            self._kept, self._candidates, self._held = np.sort(kept), [], 0
            if kept.size == TAIL:
                self.threshold = int(self._kept[0])
        return self._kept


def outermost(bits: np.ndarray, top: Tail, bottom: Tail) -> tuple[int, int, np.ndarray, np.ndarray]:
    """The extremes of float32 values given as int32 bits [n], and what the two tails may want of them.

    The bottom tail holds complements, so that its values too are the largest.

    Returns
    -------
    lowest, highest : ordered bits.
    for_top, for_bottom : int32 arrays to be added to the tails.
    """
    above, below = _starting_point(bits, top, 0), _starting_point(bits, bottom, -1)
    lowest, highest, high_values, low_values = kernels().scan(bits, above, ~below)
    if _too_few(bits, top, high_values) or _too_few(bits, bottom, low_values):
        lowest, highest, high_values, low_values = kernels().scan(bits, _ALL, ~_ALL)
    return lowest, highest, high_values, ~low_values


def _starting_point(bits: np.ndarray, tail: Tail, complement: int) -> int:
    """Beyond which value to collect: the tail's threshold, or a guess that leaves about three times what is needed."""
    if tail.threshold is not None:
        return tail.threshold
    if bits.size < _WORTH_GUESSING:
        return _ALL
    sample = bits[:: bits.size // _SAMPLE | 1]
    sample = ordered_bits(sample) ^ np.int32(complement)
    rank = max(8, 3 * TAIL * sample.size // bits.size)
    return int(np.partition(sample, sample.size - rank)[-rank]) - 1


def _too_few(bits: np.ndarray, tail: Tail, collected: np.ndarray) -> bool:
    return tail.threshold is None and collected.size < min(TAIL, bits.size)

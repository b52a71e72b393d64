"""Yes or no, from each number that an output gives: one probability or one logit."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

ROOM = 0.1
"""How far probabilities may be outside of 0...1, as rounding to codes leaves them."""


def are_logits(scores: np.ndarray) -> bool:
    """Whether some numbers can be no probabilities."""
    return bool(np.any((scores < -ROOM) | (scores > 1 + ROOM)))


def decisions(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the scores say as probabilities (above 0.5), and as logits (above 0); NaN says no."""
    return scores > 0.5, scores > 0


@dataclass
class NumberKind:
    """Whether a model gives logits or probabilities, which all of its numbers together tell."""

    are_logits: bool = field(default=False, init=False)
    any_negative: bool = field(default=False, init=False)

    def update(self, scores: np.ndarray) -> None:
        """Look at a batch."""
        self.are_logits |= are_logits(scores)
        self.any_negative |= bool(np.any(scores < 0))

    def read_like(self, first: NumberKind) -> None:
        """Take numbers for logits where those of another model are, unless none is negative.

        They may be the same ones, rounded to less than tells them.
        """
        self.are_logits |= first.are_logits and self.any_negative


@dataclass
class DecisionAgreement:
    """Equal decisions of two models over batches."""

    same: np.ndarray = field(default_factory=lambda: np.zeros((2, 2), np.int64), init=False)
    kinds: tuple[NumberKind, NumberKind] = field(default_factory=lambda: (NumberKind(), NumberKind()), init=False)
    count: int = field(default=0, init=False)

    def update(self, reference: np.ndarray, outputs: np.ndarray) -> None:
        """Add a batch of both, of one shape; NaN in the outputs is never the same."""
        is_number = ~np.isnan(outputs)
        for row, first in enumerate(decisions(reference)):
            for column, second in enumerate(decisions(outputs)):
                self.same[row, column] += np.count_nonzero((first == second) & is_number)
        first_kind, second_kind = self.kinds
        first_kind.update(reference)
        second_kind.update(outputs)
        second_kind.read_like(first_kind)
        self.count += outputs.size

    @property
    def share(self) -> float | None:
        """Share in 0...1 of the decisions that are equal."""
        first, second = (int(kind.are_logits) for kind in self.kinds)
        return int(self.same[first, second]) / self.count if self.count else None

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
class DecisionAgreement:
    """Equal decisions of two models over batches; all of a model's numbers tell whether they are logits."""

    same: np.ndarray = field(default_factory=lambda: np.zeros((2, 2), np.int64), init=False)
    logits: list[bool] = field(default_factory=lambda: [False, False], init=False)
    any_negative: bool = field(default=False, init=False)
    count: int = field(default=0, init=False)

    def update(self, reference: np.ndarray, outputs: np.ndarray) -> None:
        """Add a batch of both, of one shape; NaN in the outputs is never the same."""
        is_number = ~np.isnan(outputs)
        for row, first in enumerate(decisions(reference)):
            for column, second in enumerate(decisions(outputs)):
                self.same[row, column] += np.count_nonzero((first == second) & is_number)
        self.logits = [before or are_logits(new) for before, new in zip(self.logits, (reference, outputs), strict=True)]
        self.any_negative |= bool(np.any(outputs < 0))
        self.count += outputs.size

    @property
    def share(self) -> float | None:
        """Share in 0...1 of the decisions that are equal."""
        first, second = self.logits
        second |= first and self.any_negative  # the same logits, perhaps rounded to less than tells them
        return int(self.same[int(first), int(second)]) / self.count if self.count else None

"""How often each class was label, prediction, and both: shares of right answers and mean IoU come from that."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

MOST_CLASSES = 1 << 20
"""Class numbers are below; a larger label is no class, whatever the model gives."""


@dataclass(eq=False)
class ClassOverlap:
    """Counts by class, over batches."""

    met: np.ndarray = field(default_factory=lambda: np.zeros((3, 0), np.int64), init=False)

    def update(self, labels: np.ndarray, predictions: np.ndarray) -> None:
        """Add [n] labels and [n] predictions, both integers; a prediction that no label can be is wrong."""
        chosen = predictions[(predictions >= 0) & (predictions < MOST_CLASSES)]
        parts = [np.bincount(part) for part in (labels, chosen, labels[labels == predictions])]
        missing = max(map(len, parts)) - self.met.shape[1]
        self.met = np.pad(self.met, ((0, 0), (0, max(missing, 0))))
        for counts, part in zip(self.met, parts, strict=True):
            counts[: len(part)] += part

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClassOverlap) and np.array_equal(self.met, other.met)

    @property
    def rights(self) -> int:
        """Number of labels that were predicted."""
        return int(self.met[2].sum())

    @property
    def right(self) -> float | None:
        """Share of labels that were predicted; None without any."""
        labels = int(self.met[0].sum())
        return self.rights / labels if labels else None

    @property
    def most_frequent(self) -> tuple[int, float]:
        """The class that most labels are, the lowest of several, and its share of them; there are labels."""
        labels = self.met[0]
        return int(labels.argmax()), float(labels.max() / labels.sum())

    @property
    def mean_iou(self) -> float | None:
        """Mean over the classes that occur of intersection / union; None where none does."""
        as_label, as_prediction, together = self.met
        either = as_label + as_prediction - together
        return float((together[either > 0] / either[either > 0]).mean()) if either.any() else None

"""Right answers where a sample may have several labels at once, or none: rows of 0 and 1."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from calibrant.evaluation.decisions import NumberKind, decisions


@dataclass
class Confusion:
    """Counts of decisions: true and false positives, and so on."""

    true_positive: int = 0
    false_positive: int = 0
    false_negative: int = 0
    exact: int = 0  # samples without a wrong decision

    def update(self, wanted: np.ndarray, found: np.ndarray, kept: np.ndarray) -> None:
        """Add [N, labels] booleans; those that are not kept do not count."""
        self.true_positive += int(np.count_nonzero(wanted & found & kept))
        self.false_positive += int(np.count_nonzero(~wanted & found & kept))
        self.false_negative += int(np.count_nonzero(wanted & ~found & kept))
        self.exact += int(np.count_nonzero(((wanted == found) | ~kept).all(axis=1) & kept.any(axis=1)))


@dataclass
class MultiLabelCount:
    """Decisions on each label of each sample, over batches.

    Parameters
    ----------
    ignore : Collection[int]
        Labels that do not count, such as -1 for those that nobody knows.
    """

    ignore: Collection[int] = ()
    samples: int = field(default=0, init=False)
    labels: int = field(default=0, init=False)
    kind: NumberKind = field(default_factory=NumberKind, init=False)
    at_half: Confusion = field(default_factory=Confusion, init=False)
    at_zero: Confusion = field(default_factory=Confusion, init=False)

    def update(self, outputs: np.ndarray, labels: np.ndarray) -> None:
        """Count a batch: [N, labels] scores, and 0, 1 or what is ignored; a score that is NaN is wrong."""
        kept = ~np.isin(labels, list(self.ignore))
        wanted = labels == 1
        self.samples += int(np.count_nonzero(kept.any(axis=1)))
        self.labels += int(np.count_nonzero(kept))
        self.kind.update(outputs)
        for confusion, found in zip((self.at_half, self.at_zero), decisions(outputs), strict=True):
            confusion.update(wanted, np.where(np.isnan(outputs), ~wanted, found), kept)

    @property
    def _chosen(self) -> Confusion:
        return self.at_zero if self.kind.are_logits else self.at_half

    @property
    def hamming_accuracy(self) -> float | None:
        """Share of the labels that are right."""
        wrong = self._chosen.false_positive + self._chosen.false_negative
        return 1 - wrong / self.labels if self.labels else None

    @property
    def exact_match(self) -> float | None:
        """Share of the samples whose labels are all right."""
        return self._chosen.exact / self.samples if self.samples else None

    @property
    def f1(self) -> float | None:
        """2·TP / (2·TP + FP + FN) over all labels (micro); None where no label is 1."""
        found = self._chosen
        wanted = found.true_positive + found.false_negative
        return 2 * found.true_positive / (found.true_positive + found.false_positive + wanted) if wanted else None

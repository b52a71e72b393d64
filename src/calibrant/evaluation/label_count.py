"""Right answers counted batch by batch, where the labels are class numbers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from calibrant.errors import DataError, Problem
from calibrant.evaluation.predictions import class_scores, per_sample

ENOUGH = 16  # samples that tell labels of another numbering from a bad model


def top_k(outputs: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Whether each label is among the k largest outputs of its sample.

    Of equal outputs the one with the lower index counts as larger, as for argmax. A sample with NaN is never right.

    Parameters
    ----------
    outputs : np.ndarray
        [N, classes] scores, larger is likelier; dimensions of size 1 after the first may be anywhere.
    labels : np.ndarray
        [N] integers in 0...classes-1.
    k : int
        Above 0.

    Returns
    -------
    np.ndarray
        [N] bool.

    Raises
    ------
    DataError
        Another number of labels than samples, or a label that is no class.
    """
    scores = per_sample(outputs)
    labels = np.asarray(labels)
    if labels.shape != (len(scores),):
        raise DataError(Problem(f"{len(scores)} samples have labels of shape {list(labels.shape)}"))
    classes = scores.shape[1]
    _check_classes(labels, classes)
    own = scores[np.arange(len(labels)), labels][:, np.newaxis]
    earlier = np.arange(classes) < labels[:, np.newaxis]
    ahead = np.sum((scores > own) | ((scores == own) & earlier), axis=1)
    return (ahead < k) & ~np.isnan(scores).any(axis=1)


def _check_classes(labels: np.ndarray, classes: int) -> None:
    outside = labels[(labels < 0) | (labels >= classes)]
    if not outside.size:
        return
    first = int(outside.flat[0])
    hint = f"if such samples are not to count: --ignore-label {first} (ignore_labels=)"
    if first == classes and labels.min() > 0:
        hint = f"do the labels begin at 1? --label-offset -1 (label_offset=-1); {hint}"
    problem = f"label {first} is no class of a model with {classes} outputs"
    raise DataError(Problem(problem, allowed=f"0...{classes - 1}", hint=hint))


@dataclass
class LabelCount:
    """Counts of right answers over batches.

    Parameters
    ----------
    ignore : Collection[int]
        Labels whose samples, or positions of maps, are left out of the count.
    """

    ignore: Collection[int] = ()
    samples: int = field(default=0, init=False)
    classes: int = field(default=0, init=False)
    right1: int = field(default=0, init=False)
    right5: int = field(default=0, init=False)
    right_next: int = field(default=0, init=False)
    right_previous: int = field(default=0, init=False)
    right_at_zero: int = field(default=0, init=False)  # of one number a sample, if it is a logit
    are_logits: bool = field(default=False, init=False)
    met: np.ndarray | None = field(default=None, init=False)  # how often label (row) met prediction (column)
    maps: bool = field(default=False, init=False)

    def update(self, outputs: np.ndarray, labels: np.ndarray) -> None:
        """Count a batch; see :func:`top_k` for the arguments and errors.

        Outputs may also be class numbers (integers), one probability of class 1 where labels are 0 and 1, or a map of
        scores [N, ..., classes] with labels [N, ...].
        """
        outputs, labels = np.asarray(outputs), np.asarray(labels)
        if outputs.dtype.kind in "biu":
            self._count(per_sample(outputs).astype(np.int64), labels, classes=None)
            return
        scores = class_scores(outputs)
        if scores.shape[1] > 1:
            self._count(scores.argmax(axis=2), labels, classes=scores.shape[2])
            return
        labels = labels.reshape(-1) if labels.ndim > 1 and labels.size == len(labels) else labels
        kept = ~np.isin(labels, list(self.ignore))
        if scores.shape[2] == 1 and labels.shape == (len(outputs),):
            self._count_binary(scores[kept, 0, 0], labels[kept])
            return
        outputs, labels = per_sample(outputs)[kept] if len(kept) == len(outputs) else per_sample(outputs), labels[kept]
        self.classes = outputs.shape[1]
        self.samples += len(labels)
        self.right1 += int(top_k(outputs, labels, 1).sum())
        self.right5 += int(top_k(outputs, labels, 5).sum())
        self._count_neighbours(outputs.argmax(axis=1), labels)

    def _count_neighbours(self, predictions: np.ndarray, labels: np.ndarray) -> None:
        self.right_next += int((predictions == labels + 1).sum())
        self.right_previous += int((predictions == labels - 1).sum())

    def _count_binary(self, scores: np.ndarray, labels: np.ndarray) -> None:
        """Count [N] probabilities or logits of class 1; which of the two, all of them together tell."""
        _check_classes(labels, 2)
        self.samples += len(labels)
        self.are_logits |= bool(np.any((scores < 0) | (scores > 1)))
        is_number = ~np.isnan(scores)
        self.right1 += int(((scores > 0.5) == labels)[is_number].sum())
        self.right_at_zero += int(((scores > 0) == labels)[is_number].sum())

    def _count(self, predictions: np.ndarray, labels: np.ndarray, classes: int | None) -> None:
        """Count [N, positions] predictions; ``classes`` is None where the model gives class numbers."""
        if labels.size != predictions.size or len(labels) != len(predictions):
            what = f"{len(predictions)} samples of {predictions.shape[1]} predictions"
            problem = f"labels of shape {list(labels.shape)} for {what}"
            raise DataError(Problem(problem, allowed="one label a prediction, of the model's own height and width"))
        labels = labels.reshape(predictions.shape).astype(np.int64, copy=False)
        kept = ~np.isin(labels, list(self.ignore))
        predictions, labels = predictions[kept], labels[kept]
        if classes is not None:
            _check_classes(labels, classes)
        elif labels.size and labels.min() < 0:
            raise DataError(Problem("a class number is negative", hint="name labels that do not count: --ignore-label"))
        self.samples += int(kept.any(axis=1).sum())
        if classes is None and labels.size and kept.shape[1] == 1:
            self._count_neighbours(predictions, labels)
            self.right1 += int((predictions == labels).sum())
        size = int(max(labels.max(initial=0), predictions.max(initial=0))) + 1
        if self.met is None or len(self.met) < size:
            grown = np.zeros((size, size), np.int64)
            if self.met is not None:
                grown[: len(self.met), : len(self.met)] = self.met
            self.met = grown
        np.add.at(self.met, (labels, predictions), 1)
        self.maps |= kept.shape[1] > 1

    @property
    def mean_iou(self) -> float | None:
        """Mean over the classes that occur of intersection / union; None without maps of labels."""
        if self.met is None or not self.maps:
            return None
        together = np.diag(self.met)
        either = self.met.sum(axis=0) + self.met.sum(axis=1) - together
        return float((together[either > 0] / either[either > 0]).mean()) if either.any() else None

    def require_any(self) -> None:
        """Some labels count.

        Raises
        ------
        DataError
            All of them are ignored.
        """
        if not self.samples:
            hint = f"{', '.join(map(str, self.ignore))} do not count: --ignore-label (ignore_labels=)"
            raise DataError(Problem("every sample has a label that does not count", hint=hint))

    @property
    def offset_hint(self) -> int | None:
        """What to add to the labels where a neighbouring class is right far more often, else None."""
        if self.samples < ENOUGH:
            return None
        right, offset = max((self.right_next, 1), (self.right_previous, -1))
        return offset if right > max(2 * self.right1, 0.2 * self.samples) else None

    @property
    def top1(self) -> float | None:
        """Share of right answers."""
        if self.met is not None:
            return float(np.trace(self.met) / self.met.sum()) if self.met.sum() else None
        right = self.right_at_zero if self.are_logits else self.right1
        return right / self.samples if self.samples else None

    @property
    def top5(self) -> float | None:
        """Share of samples whose label is among the five largest outputs; None where there are no more than five."""
        return self.right5 / self.samples if self.samples and self.classes > 5 else None

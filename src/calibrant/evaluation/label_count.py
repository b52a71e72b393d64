"""Right answers counted batch by batch, where the labels are class numbers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from calibrant.errors import DataError, Problem
from calibrant.evaluation.class_overlap import MOST_CLASSES, ClassOverlap
from calibrant.evaluation.decisions import NumberKind, decisions
from calibrant.evaluation.predictions import class_scores, per_sample

ENOUGH = 16  # samples that tell labels of another numbering from a bad model
_BAD = 0.6
"""A share of right answers below which labels are doubted, where a single class is as often the label."""

Extent = tuple[int, int]
"""The smallest and the largest label."""


def extent_of(labels: np.ndarray, ignore: Collection[int] = ()) -> Extent | None:
    """The smallest and the largest of the labels that count; None where none does.

    Parameters
    ----------
    labels : np.ndarray
        Class numbers.
    ignore : Collection[int]
        Labels that do not count.
    """
    kept = labels[~np.isin(labels, list(ignore))]
    return (int(kept.min()), int(kept.max())) if kept.size else None


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


def _check_classes(labels: np.ndarray, classes: int | None, offset: int = 0, extent: Extent | None = None) -> None:
    """Refuse labels that are no classes; ``extent`` is that of all there are, ``offset`` has been added to them."""
    most = MOST_CLASSES if classes is None else classes
    outside = labels[(labels < 0) | (labels >= most)]
    if not outside.size:
        return
    first = int(outside.flat[0])
    added = f", which an offset of {offset} makes of {first - offset}," if offset else ""
    model = f"class of a model with {classes} outputs" if classes is not None else "class number"
    hint = f"if such samples are not to count: --ignore-label {first - offset} (ignore_labels=)"
    others = (0, -1, 1, offset - 1, offset + 1)
    better = next((other for other in others if _fits(extent, other - offset, most)), None)
    if better is not None:
        hint = f"{_renumbered(better)}; {hint}"
    raise DataError(Problem(f"label {first}{added} is no {model}", allowed=f"0...{most - 1}", hint=hint))


def _fits(extent: Extent | None, shift: int, classes: int) -> bool:
    """Whether all labels are classes once ``shift`` is added to them."""
    return extent is not None and extent[0] + shift >= 0 and extent[1] + shift < classes


def _renumbered(offset: int) -> str:
    if not offset:
        return "they are classes without --label-offset (label_offset=)"
    question = "do the labels begin at 1?" if offset == -1 else "do the labels begin elsewhere?"
    return f"{question} --label-offset {offset} (label_offset={offset})"


@dataclass
class LabelCount:
    """Counts of right answers over batches.

    Parameters
    ----------
    ignore : Collection[int]
        Labels whose samples, or positions of maps, are left out of the count.
    offset : int
        What has been added to the labels.
    extent : Extent | None
        The smallest and the largest of all labels that count; None where they are not known yet.
    """

    ignore: Collection[int] = ()
    offset: int = 0
    extent: Extent | None = None
    samples: int = field(default=0, init=False)
    classes: int = field(default=0, init=False)
    right5: int = field(default=0, init=False)
    right_next: int = field(default=0, init=False)
    right_previous: int = field(default=0, init=False)
    kind: NumberKind = field(default_factory=NumberKind, init=False)
    counted: Extent | None = field(default=None, init=False)  # of the labels so far
    overlap: ClassOverlap = field(default_factory=ClassOverlap, init=False)
    at_zero: ClassOverlap = field(default_factory=ClassOverlap, init=False)  # of one number a label, if it is a logit
    maps: bool = field(default=False, init=False)

    def update(self, outputs: np.ndarray, labels: np.ndarray) -> None:
        """Count a batch; see :func:`top_k` for the arguments and errors.

        Outputs may also be class numbers (integers), one probability or logit of class 1 for each label of 0 and 1, or
        scores [N, ..., classes] with labels [N, ...].
        """
        outputs, labels = np.asarray(outputs), np.asarray(labels)
        if not len(outputs) and not len(labels):
            return
        if outputs.dtype.kind in "biu":
            self._count(per_sample(outputs).astype(np.int64), labels, classes=None)
            return
        if outputs.size == labels.size and len(outputs) == len(labels):
            self._count_binary(per_sample(outputs), labels)
            return
        scores = class_scores(outputs)
        is_number = ~np.isnan(scores).any(axis=2)
        kept = self._count(np.where(is_number, scores.argmax(axis=2), -1), labels, classes=scores.shape[2])
        if scores.shape[1] == 1:
            self.classes = scores.shape[2]
            self.right5 += int(top_k(scores[kept], labels.reshape(-1)[kept[:, 0]], 5).sum())

    def _check(self, labels: np.ndarray, classes: int | None) -> None:
        _check_classes(labels, classes, self.offset, self.extent)
        found = extent_of(labels)
        if found is not None:
            before = self.counted or found
            self.counted = min(before[0], found[0]), max(before[1], found[1])

    def _count_binary(self, scores: np.ndarray, labels: np.ndarray) -> None:
        """Count [N, positions] probabilities or logits of class 1; which of the two, all of them together tell."""
        labels = labels.reshape(scores.shape)
        kept = self._kept(labels)
        self._check(labels[kept], 2)
        self.kind.update(scores[kept])
        for overlap, found in zip((self.overlap, self.at_zero), decisions(scores), strict=True):
            overlap.update(labels[kept], np.where(np.isnan(scores), -1, found)[kept])

    def _kept(self, labels: np.ndarray) -> np.ndarray:
        """Which of [N, positions] labels count; their samples are counted."""
        kept = ~np.isin(labels, list(self.ignore))
        self.samples += int(kept.any(axis=1).sum())
        self.maps |= kept.shape[1] > 1
        return kept

    def _count(self, predictions: np.ndarray, labels: np.ndarray, classes: int | None) -> np.ndarray:
        """Count [N, positions] predictions, and say which; ``classes`` is None where the model gives class numbers."""
        if labels.size != predictions.size or len(labels) != len(predictions):
            what = f"{len(predictions)} samples of {predictions.shape[1]} predictions"
            problem = f"labels of shape {list(labels.shape)} for {what}"
            raise DataError(Problem(problem, allowed="one label a prediction, of the model's own height and width"))
        labels = labels.reshape(predictions.shape).astype(np.int64, copy=False)
        kept = self._kept(labels)
        chosen, labels = predictions[kept], labels[kept]
        self._check(labels, classes)
        if kept.shape[1] == 1:
            self.right_next += int((chosen == labels + 1).sum())
            self.right_previous += int((chosen == labels - 1).sum())
        self.overlap.update(labels, chosen)
        return kept

    @property
    def _chosen(self) -> ClassOverlap:
        return self.at_zero if self.kind.are_logits else self.overlap

    @property
    def mean_iou(self) -> float | None:
        """Mean over the classes that occur of intersection / union; None without positions."""
        return self._chosen.mean_iou if self.maps else None

    @property
    def offset_hint(self) -> int | None:
        """What to add to the labels where a neighbouring class is right far more often, else None.

        None also where some label would then be no class.
        """
        if self.samples < ENOUGH:
            return None
        most = self.classes or MOST_CLASSES
        right, offset = max((self.right_next, 1), (self.right_previous, -1))
        is_better = right > max(2 * self.overlap.rights, 0.2 * self.samples)
        return offset if is_better and _fits(self.counted, offset, most) else None

    @property
    def doubt(self) -> str | None:
        """Why the labels seem to be those of other samples or classes; None where they do not."""
        offset = self.offset_hint
        if offset:
            where = "after" if offset > 0 else "before"
            return (
                f"the class {where} each label is predicted far more often than the label: does the model number its "
                f"classes otherwise? --label-offset {offset + self.offset} (label_offset=)"
            )
        right = self.top1
        if self.maps or right is None or self.samples < ENOUGH:
            return None
        label, share = self._chosen.most_frequent
        if right >= min(share, _BAD):
            return None
        return (
            f"right for {100 * right:.1f} % of the samples, where always answering {label - self.offset} would be for "
            f"{100 * share:.1f} %: are these the labels of these samples, in this order?"
        )

    @property
    def top1(self) -> float | None:
        """Share of right answers."""
        return self._chosen.right

    @property
    def top5(self) -> float | None:
        """Share of samples whose label is among the five largest outputs; None where there are no more than five."""
        return self.right5 / self.samples if self.samples and self.classes > 5 else None

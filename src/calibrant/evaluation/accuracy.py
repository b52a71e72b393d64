"""How right a model is, and how near to another one: scores that are gathered batch by batch."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from calibrant.errors import DataError, Problem
from calibrant.evaluation.predictions import predicted


@dataclass(frozen=True)
class Score:
    """What was measured on one model; None where it could not be.

    Parameters
    ----------
    name : the model's.
    samples : how many samples were scored.
    top1, top5 : shares in 0...1 of the samples whose label is the largest output, or among the five largest (None
        with five classes or fewer).
    mean_iou : mean over the classes of intersection / union of predicted and true positions, for maps of labels.
    mse : mean squared difference to the reference's outputs.
    cosine : cosine of the angle between all outputs and the reference's, -1...1.
    sqnr_db : signal-to-quantization-noise ratio of the outputs, 10·log10(Σ reference² / Σ difference²), in decibels;
        infinite where there is no difference.
    largest_difference : of any single output.
    agreement : share in 0...1 of the predictions that are the same: of samples, or of positions of maps.
    output : which of several outputs was scored.

    mse to agreement are None for the reference itself.
    """

    name: str
    samples: int
    top1: float | None = None
    top5: float | None = None
    mean_iou: float | None = None
    mse: float | None = None
    cosine: float | None = None
    sqnr_db: float | None = None
    largest_difference: float | None = None
    agreement: float | None = None
    output: str | None = None


def top_k(outputs: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Whether each label is among the k largest outputs of its sample.

    Of equal outputs the one with the lower index counts as larger, as for argmax. A sample with NaN is never right.

    Parameters
    ----------
    outputs : [N, classes] scores, larger is likelier; dimensions of size 1 behind the first may be anywhere.
    labels : [N] integers in 0...classes-1.
    k : > 0.

    Returns
    -------
    [N] bool.

    Raises
    ------
    DataError : another number of labels than samples, or a label that is no class.
    """
    scores = _per_sample(outputs)
    labels = np.asarray(labels)
    if labels.shape != (len(scores),):
        raise DataError(Problem(f"{len(scores)} samples have labels of shape {list(labels.shape)}"))
    classes = scores.shape[1]
    outside = np.flatnonzero((labels < 0) | (labels >= classes))
    if outside.size:
        message = f"label {labels[outside[0]]} is no class of a model with {classes} outputs"
        hint = "the output is one number a sample, choose another one" if classes == 1 else None
        raise DataError(Problem(message, allowed=f"0...{classes - 1}", hint=hint))
    own = scores[np.arange(len(labels)), labels][:, np.newaxis]
    earlier = np.arange(classes) < labels[:, np.newaxis]
    ahead = np.sum((scores > own) | ((scores == own) & earlier), axis=1)
    return (ahead < k) & ~np.isnan(scores).any(axis=1)


@dataclass
class LabelCount:
    """Counts of right answers over batches.

    ``ignore`` are labels whose samples are left out of the count.
    """

    ignore: Collection[int] = ()
    samples: int = field(default=0, init=False)
    classes: int = field(default=0, init=False)
    right1: int = field(default=0, init=False)
    right5: int = field(default=0, init=False)
    right_next: int = field(default=0, init=False)
    met: np.ndarray | None = field(default=None, init=False)  # how often label (row) met prediction (column)
    maps: bool = field(default=False, init=False)

    def update(self, outputs: np.ndarray, labels: np.ndarray) -> None:
        """Count a batch; see :func:`top_k` for the arguments and errors.

        Outputs may also be class numbers (integers), one probability of class 1 where labels are 0 and 1, or a map of
        scores [N, ..., classes] with labels [N, ...].
        """
        outputs, labels = np.asarray(outputs), np.asarray(labels)
        found = predicted(outputs, binary=labels.size > 0 and bool(np.isin(labels, (0, 1, *self.ignore)).all()))
        one_number = outputs.dtype.kind in "biu" or math.prod(outputs.shape[1:]) == 1
        if found is not None and (one_number or found.shape[1] > 1):
            self._count(found, labels)
            return
        kept = ~np.isin(labels, list(self.ignore))
        outputs, labels = _per_sample(outputs)[kept], np.asarray(labels)[kept]
        self.classes = outputs.shape[1]
        self.samples += len(labels)
        self.right1 += int(top_k(outputs, labels, 1).sum())
        self.right5 += int(top_k(outputs, labels, 5).sum())
        self.right_next += int((outputs.argmax(axis=1) == labels + 1).sum())

    def _count(self, found: np.ndarray, labels: np.ndarray) -> None:
        if labels.size != found.size or len(labels) != len(found):
            message = f"labels of shape {list(labels.shape)} for {len(found)} samples of {found.shape[1]} predictions"
            raise DataError(Problem(message, allowed="one label a prediction"))
        labels = labels.reshape(found.shape)
        kept = ~np.isin(labels, list(self.ignore))
        found, labels = found[kept], labels[kept]
        if labels.size and min(labels.min(), found.min()) < 0:
            raise DataError(Problem("a class number is negative", hint="name labels that do not count: --ignore-label"))
        self.samples += int(kept.any(axis=1).sum()) if kept.shape[1] > 1 else int(kept.sum())
        size = int(max(labels.max(initial=0), found.max(initial=0))) + 1
        if self.met is None or len(self.met) < size:
            grown = np.zeros((size, size), np.int64)
            if self.met is not None:
                grown[: len(self.met), : len(self.met)] = self.met
            self.met = grown
        np.add.at(self.met, (labels, found), 1)
        self.maps |= kept.shape[1] > 1

    @property
    def mean_iou(self) -> float | None:
        """Mean over the classes that occur of intersection / union; None without maps of labels."""
        if self.met is None or not self.maps:
            return None
        together = np.diag(self.met)
        either = self.met.sum(axis=0) + self.met.sum(axis=1) - together
        return float((together[either > 0] / either[either > 0]).mean())

    @property
    def is_off_by_one(self) -> bool:
        """Whether the next class would nearly always be right: labels without the background class of the model."""
        return self.samples >= 16 and self.right_next > max(2 * self.right1, 0.2 * self.samples)

    @property
    def top1(self) -> float | None:
        """Share of right answers."""
        if self.met is not None:
            return float(np.trace(self.met) / self.met.sum()) if self.met.sum() else None
        return self.right1 / self.samples if self.samples else None

    @property
    def top5(self) -> float | None:
        """Share of samples whose label is among the five largest outputs; None where there are no more than five."""
        return self.right5 / self.samples if self.samples and self.classes > 5 else None


@dataclass
class Difference:
    """Difference of a model's outputs to a reference's over batches, summed in float64."""

    binary: bool = False
    values: int = field(default=0, init=False)
    predictions: int = field(default=0, init=False)
    same: int = field(default=0, init=False)
    comparable: bool = field(default=True, init=False)
    noise: float = field(default=0.0, init=False)
    signal: float = field(default=0.0, init=False)
    energy: float = field(default=0.0, init=False)
    product: float = field(default=0.0, init=False)
    largest: float = field(default=0.0, init=False)

    def update(self, reference: np.ndarray, outputs: np.ndarray) -> None:
        """Add a batch of both models' outputs.

        Raises
        ------
        DataError : their shapes differ.
        """
        if np.shape(reference) != np.shape(outputs):
            found = f"outputs of shapes {list(np.shape(reference))} and {list(np.shape(outputs))}"
            raise DataError(Problem(f"{found} cannot be compared", hint="choose outputs that mean the same"))
        first = _per_sample(reference).astype(np.float64)
        second = _per_sample(outputs).astype(np.float64)
        apart = second - first
        self.values += first.size
        classes = predicted(reference, self.binary), predicted(outputs, self.binary)
        self.comparable &= classes[0] is not None
        if self.comparable:
            self.predictions += classes[0].size
            self.same += int(np.sum(classes[0] == classes[1]))
        self.noise += float(np.vdot(apart, apart))
        self.signal += float(np.vdot(first, first))
        self.energy += float(np.vdot(second, second))
        self.product += float(np.vdot(first, second))
        self.largest = float(np.maximum(self.largest, np.max(np.abs(apart), initial=0.0)))

    @property
    def mse(self) -> float | None:
        """Mean squared difference."""
        return self.noise / self.values if self.values else None

    @property
    def cosine(self) -> float | None:
        """Cosine of the angle between all outputs; 1 where both are all zero, 0 where one is."""
        if not self.values:
            return None
        length = math.sqrt(self.signal) * math.sqrt(self.energy)
        if length == 0:
            return 1.0 if self.signal == self.energy else 0.0
        return max(-1.0, min(1.0, self.product / length)) if math.isfinite(length) else math.nan

    @property
    def sqnr_db(self) -> float | None:
        """10·log10(Σ reference² / Σ difference²); infinite without a difference."""
        if not self.values:
            return None
        if self.noise == 0:
            return math.inf
        return 10 * math.log10(self.signal / self.noise) if self.signal > 0 else -math.inf

    @property
    def agreement(self) -> float | None:
        """Share of predictions that are the same; None where a sample has one number that is no class."""
        return self.same / self.predictions if self.predictions and self.comparable else None


def median_sqnr_db(reference: np.ndarray, outputs: np.ndarray) -> float:
    """Signal-to-quantization-noise ratio in decibels of the median sample; infinite without a difference.

    Parameters
    ----------
    reference, outputs : [N, ...] of one shape; samples without a signal do not count.
    """
    signal, noise = (
        np.square(array, dtype=np.float64).sum(axis=1)
        for array in (_per_sample(reference), _per_sample(outputs) - _per_sample(reference).astype(np.float64))
    )
    if not signal.any():
        return -math.inf if noise.any() else math.inf
    ratio = float(np.median(noise[signal > 0] / signal[signal > 0]))
    return -10 * math.log10(ratio) if ratio else math.inf


class Scoreboard:
    """Scores of several models on the same batches; the first model is the reference of the others.

    Parameters
    ----------
    names : the models', at least one.
    ignore : labels whose samples are left out of top1 and top5.
    binary : one number a sample is the probability of class 1.
    output : which of several outputs is scored; for the scores.

    Example
    -------
    >>> board = Scoreboard(["float", "int8"])
    >>> board.update([np.array([[0.1, 0.9]]), np.array([[0.2, 0.8]])], labels=np.array([1]))
    >>> [score.top1 for score in board.scores()], board.agreement()[0][1]
    ([1.0, 1.0], 1.0)
    """

    def __init__(
        self, names: Sequence[str], ignore: Collection[int] = (), binary: bool = False, output: str | None = None
    ):
        self._output = output
        self._names = tuple(names)
        self._samples = 0
        self._labelled = False
        self._counts = [LabelCount(ignore) for _ in self._names]
        many = len(self._names)
        self._pairs = {(a, b): Difference(binary) for a in range(many) for b in range(a + 1, many)}

    def update(self, outputs: Sequence[np.ndarray], labels: np.ndarray | None = None) -> None:
        """Add a batch: the outputs of every model [N, ...] in the order of the names, and the labels [N] if there are.

        Raises
        ------
        DataError : labels that do not fit, or outputs of different shapes, with the models' names.
        """
        self._samples += len(outputs[0])
        for name, count, output in zip(self._names, self._counts, outputs, strict=True):
            if labels is not None:
                self._labelled = True
                _naming(name, count.update, output, labels)
        for (a, b), pair in self._pairs.items():
            _naming(f"{self._names[a]} and {self._names[b]}", pair.update, outputs[a], outputs[b])

    @property
    def is_off_by_one(self) -> bool:
        """Whether the labels of the first model seem to lack a class in front."""
        return self._counts[0].is_off_by_one

    def scores(self) -> tuple[Score, ...]:
        """One score per model."""
        scores = []
        for index, (name, count) in enumerate(zip(self._names, self._counts, strict=True)):
            pair = self._pairs.get((0, index), Difference())
            scores.append(
                Score(
                    name,
                    samples=count.samples if self._labelled else self._samples,
                    top1=count.top1,
                    top5=count.top5,
                    mean_iou=count.mean_iou,
                    mse=pair.mse,
                    cosine=pair.cosine,
                    sqnr_db=pair.sqnr_db,
                    largest_difference=pair.largest if pair.values else None,
                    agreement=pair.agreement,
                    output=self._output,
                )
            )
        return tuple(scores)

    def agreement(self) -> list[list[float | None]]:
        """Agreement of every model (row) with every other (column)."""
        many = range(len(self._names))
        return [[1.0 if a == b else self._pairs[min(a, b), max(a, b)].agreement for b in many] for a in many]


def _per_sample(outputs: np.ndarray) -> np.ndarray:
    """[N, values] from [N, ...]; a scalar per sample becomes [N, 1]."""
    outputs = np.asarray(outputs)
    return outputs.reshape(len(outputs), math.prod(outputs.shape[1:])) if outputs.ndim else outputs.reshape(1, 1)


def _naming(name: str, call, *arguments) -> None:
    try:
        call(*arguments)
    except DataError as error:
        raise DataError(*(Problem(**{**vars(problem), "path": name}) for problem in error.problems)) from error

"""How right a model is, and how near to another one: scores that are gathered batch by batch."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from calibrant.algorithms.finite_pair import finite_pair
from calibrant.algorithms.sqnr import sqnr_db
from calibrant.errors import DataError, Problem
from calibrant.evaluation.label_count import Extent, LabelCount, extent_of
from calibrant.evaluation.predictions import are_targets, class_scores, per_sample, predicted
from calibrant.evaluation.target_error import TargetError


@dataclass(frozen=True)
class Score:
    """What was measured on one model; None where it could not be.

    ``mse`` to ``agreement`` are None for the reference itself; ``mse`` to ``largest_difference`` also for outputs that
    are class numbers or strings.

    Parameters
    ----------
    name : str
        The model's.
    samples : int
        How many samples were scored.
    top1, top5 : float | None
        Shares in 0...1 of the samples whose label is the largest output, or among the five largest (None with five
        classes or fewer).
    mean_iou : float | None
        Mean over the classes of intersection / union of predicted and true positions, for maps of labels.
    mae, rmse, r2 : float | None
        Of outputs that are numbers, to the labels: mean absolute error, root of the mean squared error, and share of
        the labels' variance that is explained.
    mse : float | None
        Mean squared difference to the reference's outputs.
    cosine : float | None
        Cosine of the angle between all outputs and the reference's, -1...1.
    sqnr_db : float | None
        Signal-to-quantization-noise ratio of the outputs, 10·log10(Σ reference² / Σ difference²), in decibels; infinite
        where there is no difference.
    largest_difference : float | None
        Of any single output.
    agreement : float | None
        Share in 0...1 of the predictions that are the same: of samples, or of positions of maps.
    output : str | None
        Which of several outputs was scored.
    """

    name: str
    samples: int
    top1: float | None = None
    top5: float | None = None
    mean_iou: float | None = None
    mae: float | None = None
    rmse: float | None = None
    r2: float | None = None
    mse: float | None = None
    cosine: float | None = None
    sqnr_db: float | None = None
    largest_difference: float | None = None
    agreement: float | None = None
    output: str | None = None


@dataclass
class Difference:
    """Difference of a model's outputs to a reference's over batches, summed in float64.

    What is no number in the reference does not count; what is none in the outputs alone is all lost.
    """

    binary: bool = False
    values: int = field(default=0, init=False)
    predictions: int = field(default=0, init=False)
    same: int = field(default=0, init=False)
    lost: int = field(default=0, init=False)
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
        DataError
            Their shapes differ.
        """
        if np.shape(reference) != np.shape(outputs):
            found = f"outputs of shapes {list(np.shape(reference))} and {list(np.shape(outputs))}"
            raise DataError(Problem(f"{found} cannot be compared", hint="choose outputs that mean the same"))
        if np.asarray(reference).dtype.kind not in "fc":
            self._compare_names(np.asarray(reference), np.asarray(outputs))
            return
        first, second = finite_pair(per_sample(reference), per_sample(outputs))
        difference = second - first
        self.values += first.size
        self.lost += int(np.sum(np.isfinite(reference) & ~np.isfinite(outputs)))
        classes = predicted(reference, self.binary), predicted(outputs, self.binary)
        self.comparable &= classes[0] is not None
        if self.comparable and classes[0] is not None:
            self.predictions += classes[0].size
            self.same += int(np.sum((classes[0] == classes[1]) & ~np.isnan(class_scores(outputs)).any(axis=2)))
        self.noise += float(np.vdot(difference, difference))
        self.signal += float(np.vdot(first, first))
        self.energy += float(np.vdot(second, second))
        self.product += float(np.vdot(first, second))
        self.largest = math.inf if self.lost else max(self.largest, float(np.max(np.abs(difference), initial=0.0)))

    def _compare_names(self, reference: np.ndarray, outputs: np.ndarray) -> None:
        """Count equal class numbers or strings, between which there are no distances."""
        self.predictions += reference.size
        self.same += int(np.sum(reference == outputs))

    @property
    def mse(self) -> float | None:
        """Mean squared difference; infinite where outputs are no numbers and the reference's are."""
        if not self.values:
            return None
        return math.inf if self.lost else self.noise / self.values

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
        return sqnr_db(self.signal, self.noise)

    @property
    def agreement(self) -> float | None:
        """Share of predictions that are the same; None where a sample has one number that is no class."""
        return self.same / self.predictions if self.predictions and self.comparable else None


class Scoreboard:
    """Scores of several models on the same batches; the first model is the reference of the others.

    Parameters
    ----------
    names : Sequence[str]
        The models', at least one.
    ignore : Collection[int]
        Labels whose samples are left out of top1 and top5.
    binary : bool
        One number a sample is the probability of class 1.
    output : str | None
        Which of several outputs is scored; for the scores.
    offset : int
        What has been added to class numbers; for messages.

    Examples
    --------
    >>> board = Scoreboard(["float", "int8"])
    >>> board.update([np.array([[0.1, 0.9]]), np.array([[0.2, 0.8]])], labels=np.array([1]))
    >>> [score.top1 for score in board.scores()], board.agreement()[0][1]
    ([1.0, 1.0], 1.0)
    """

    def __init__(
        self,
        names: Sequence[str],
        ignore: Collection[int] = (),
        binary: bool = False,
        output: str | None = None,
        offset: int = 0,
    ):
        self._offset = offset
        self._output = output
        self._names = tuple(names)
        self._ignore = ignore
        self._binary = binary
        self._samples = 0
        self._counts: list[LabelCount] | None = None
        self._errors: list[TargetError] | None = None
        many = len(self._names)
        self._pairs = {(a, b): Difference(binary) for a in range(many) for b in range(a + 1, many)}

    def update(
        self, outputs: Sequence[np.ndarray], labels: np.ndarray | None = None, samples: int | None = None
    ) -> None:
        """Add a batch: the outputs of every model [N, ...] in the order of the names, and the labels [N] if there are.

        Parameters
        ----------
        outputs : Sequence[np.ndarray]
            Of the models.
        labels : np.ndarray | None
            Of the samples.
        samples : int | None
            How many there are, where that is not N.

        Raises
        ------
        DataError
            Labels that do not fit, or outputs of different shapes, with the models' names.
        """
        self._samples += len(outputs[0]) if samples is None else samples
        if labels is not None:
            self._decide(outputs[0], labels)
            counts: Sequence[LabelCount | TargetError] = self._counts or self._errors or ()
            for name, count, output in zip(self._names, counts, outputs, strict=True):
                _naming(name, count.update, output, labels)
        for (a, b), pair in self._pairs.items():
            _naming(f"{self._names[a]} and {self._names[b]}", pair.update, outputs[a], outputs[b])

    def expect(self, outputs: np.ndarray, labels: np.ndarray) -> None:
        """Decide once, by a batch of outputs and all labels there are, whether the labels are classes or targets."""
        is_number = np.asarray(labels).dtype.kind in "iu"
        self._decide(outputs, labels, extent_of(np.asarray(labels), self._ignore) if is_number else None)

    def _decide(self, outputs: np.ndarray, labels: np.ndarray, extent: Extent | None = None) -> None:
        if self._counts is not None or self._errors is not None:
            return
        if np.asarray(outputs).dtype.kind in "OSU":
            raise DataError(
                Problem("the labels belong to an output of strings", path=self._output, hint="choose another: --output")
            )
        if are_targets(np.asarray(outputs), np.asarray(labels), self._binary, self._ignore):
            self._errors = [TargetError() for _ in self._names]
        else:
            self._counts = [LabelCount(self._ignore, self._offset, extent) for _ in self._names]

    @property
    def offset_hint(self) -> int | None:
        """What to add to the labels where the first model seems to number its classes otherwise."""
        return self._counts[0].offset_hint if self._counts else None

    def scores(self) -> tuple[Score, ...]:
        """One score per model.

        Raises
        ------
        DataError
            There are labels, and none of them counts.
        """
        scores = []
        if self._counts:
            self._counts[0].require_any()
        for index, name in enumerate(self._names):
            pair = self._pairs.get((0, index), Difference())
            count = self._counts[index] if self._counts else LabelCount()
            error = self._errors[index] if self._errors else TargetError()
            scores.append(
                Score(
                    name,
                    samples=count.samples if self._counts else self._samples,
                    top1=count.top1,
                    top5=count.top5,
                    mean_iou=count.mean_iou,
                    mae=error.mae,
                    rmse=error.rmse,
                    r2=error.r2,
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


def _naming(name: str, call, *arguments) -> None:
    try:
        call(*arguments)
    except DataError as error:
        raise DataError(*(Problem(**{**vars(problem), "path": name}) for problem in error.problems)) from error

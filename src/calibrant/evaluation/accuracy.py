"""How right a model is, and how near to another one: scores that are gathered batch by batch."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np

from calibrant.errors import DataError, Problem
from calibrant.evaluation.difference import Difference
from calibrant.evaluation.given_labels import GivenLabels
from calibrant.evaluation.label_count import LabelCount, extent_of
from calibrant.evaluation.label_meaning import LabelMeaning, Meaning, are_one_hot, shifted
from calibrant.evaluation.labels import labels_of
from calibrant.evaluation.labels_per_sample import require_any
from calibrant.evaluation.multi_label_count import MultiLabelCount
from calibrant.evaluation.predictions import one_a_position, per_sample
from calibrant.evaluation.score import Score
from calibrant.evaluation.target_error import TargetError


class Scoreboard:
    """Scores of several models on the same batches; the first model is the reference of the others.

    Parameters
    ----------
    names : Sequence[str]
        The models', at least one.
    ignore : Collection[int]
        Labels whose samples are left out of top1 and top5.
    binary : bool
        The output comes from a Sigmoid.
    output : str | None
        Which of several outputs is scored; for the scores.
    offset : int
        Added to class numbers.
    exclusive : bool
        The output comes from a Softmax.

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
        exclusive: bool = False,
    ):
        self._meaning = LabelMeaning(binary, exclusive, ignore, offset)
        self._output = output
        self._names = tuple(names)
        self._ignore = ignore
        self._binary = binary
        self._samples = 0
        self._counts: list[LabelCount] | None = None
        self._sets: list[MultiLabelCount] | None = None
        self._errors: list[TargetError] | None = None
        many = len(self._names)
        self._pairs = {(a, b): Difference() for a in range(many) for b in range(a + 1, many)}

    def update(
        self,
        outputs: Sequence[np.ndarray],
        labels: np.ndarray | GivenLabels | None = None,
        samples: int | None = None,
    ) -> None:
        """Add a batch: the outputs of every model [N, ...] in the order of the names, and the labels [N, ...], if any.

        Parameters
        ----------
        outputs : Sequence[np.ndarray]
            Of the models.
        labels : np.ndarray | GivenLabels | None
            Of the samples, as they were given.
        samples : int | None
            How many there are, where that is not N.

        Raises
        ------
        DataError
            Labels that do not fit, or outputs of different shapes, with the models' names.
        """
        self._samples += len(outputs[0]) if samples is None else samples
        if labels is not None:
            given = labels_of(labels)
            self.expect(outputs[0], given, all_of_them=False)
            self._count(outputs, given)
        each = self._are_decisions(np.asarray(outputs[0]))
        for (a, b), pair in self._pairs.items():
            _naming(f"{self._names[a]} and {self._names[b]}", pair.update, outputs[a], outputs[b], each)

    def _are_decisions(self, outputs: np.ndarray) -> bool:
        """Whether each number of an output is a decision of its own."""
        kind = self._meaning.kind
        if kind in (Meaning.BINARY, Meaning.ROWS):
            return True
        is_map = kind in (None, Meaning.NUMBERS) and one_a_position(outputs)
        return self._binary and (is_map or math.prod(outputs.shape[1:]) == 1)

    def _count(self, outputs: Sequence[np.ndarray], given: GivenLabels) -> None:
        labels = self._meaning.meant(given)
        if self._sets is not None:
            if self._counts is not None and not are_one_hot(labels):
                self._counts = None
            if self._counts is None and (self._meaning.offset or self._ignores_classes):
                problem = "an offset, or class 0 or 1 ignored, for rows of labels with several 1, or none"
                allowed = "rows with a single 1, or neither --label-offset nor --ignore-label 0 or 1"
                raise DataError(Problem(problem, file=given.file, allowed=allowed))
            self._update(self._sets, [per_sample(array) for array in outputs], labels)
            labels = self._of_rows(labels)
        self._update(self._counts or self._errors or (), outputs, labels)

    def _of_rows(self, rows: np.ndarray) -> np.ndarray:
        return shifted(np.argmax(rows == 1, axis=1), self._meaning.offset, self._ignore)

    def _update(
        self,
        counts: Sequence[LabelCount | MultiLabelCount | TargetError],
        outputs: Sequence[np.ndarray],
        labels: np.ndarray,
    ) -> None:
        for name, count, array in zip(self._names, counts, outputs, strict=False):
            _naming(name, count.update, array, labels)
        kinds = [count.kind for count in counts if not isinstance(count, TargetError)]
        for kind in kinds[1:]:
            kind.read_like(kinds[0])

    def expect(self, outputs: np.ndarray, given: GivenLabels, all_of_them: bool = True) -> None:
        """Decide once, by a batch of outputs and all labels there are, what the labels mean.

        Raises
        ------
        DataError
            The labels do not fit the output.
        """
        if self._meaning.kind is not None:
            return
        if np.asarray(outputs).dtype.kind in "OSU":
            raise DataError(
                Problem("the labels belong to an output of strings", path=self._output, hint="choose another: --output")
            )
        kind = self._meaning.decide(given, outputs)
        if kind is Meaning.NUMBERS:
            self._errors = [TargetError() for _ in self._names]
            return
        if kind is Meaning.ROWS:
            self._sets = [MultiLabelCount(self._ignore) for _ in self._names]
        extent = None
        if all_of_them:
            labels = self._meaning.meant(given)
            extent = extent_of(self._of_rows(labels) if kind is Meaning.ROWS else labels, self._ignore)
        self._counts = [LabelCount(self._ignore, self._meaning.offset, extent) for _ in self._names]

    @property
    def doubt(self) -> str | None:
        """Why the labels seem to be others than the first model's; None where they do not."""
        doubt = self._counts[0].doubt if self._counts else None
        return doubt and f"{self._names[0]}: {doubt}"

    def scores(self) -> tuple[Score, ...]:
        """One score per model.

        Raises
        ------
        DataError
            There are labels, and none of them counts.
        """
        counted: Sequence[LabelCount | MultiLabelCount] = self._counts or self._sets or ()
        if counted:
            require_any(counted[0].samples, self._ignore)
        scores = []
        for index, name in enumerate(self._names):
            pair = self._pairs.get((0, index), Difference())
            count = self._counts[index] if self._counts else LabelCount()
            labels = self._sets[index] if self._sets and self._shows_sets else MultiLabelCount()
            error = self._errors[index] if self._errors else TargetError()
            scores.append(
                Score(
                    name,
                    samples=counted[index].samples if counted else self._samples,
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
                    agreement=self._agreement(pair),
                    output=self._output,
                    f1=labels.f1,
                    exact_match=labels.exact_match,
                    hamming_accuracy=labels.hamming_accuracy,
                )
            )
        return tuple(scores)

    @property
    def _shows_sets(self) -> bool:
        """Whether labels are judged one by one: where a row is not one-hot, or a Sigmoid gives them."""
        return self._counts is None or (self._binary and not self._ignores_classes)

    @property
    def _ignores_classes(self) -> bool:
        """Whether labels that do not count can only be class numbers: 0 and 1 of rows say yes and no."""
        return not {0, 1}.isdisjoint(self._ignore)

    def _agreement(self, pair: Difference) -> float | None:
        are_classes = self._sets is not None and self._counts is not None
        return pair.agreement if are_classes or pair.each.share is None else pair.each.share

    @property
    def note(self) -> str | None:
        """What labels were taken for, where that had to be decided."""
        counted: Sequence[LabelCount | MultiLabelCount] | None = self._counts or self._sets
        is_new = self._meaning.kind in (Meaning.BINARY, Meaning.ROWS)
        if not is_new or not counted or (self._sets and not self._shows_sets):
            return None
        where = f"{self._output}: " if self._output else ""
        if self._sets and self._counts:
            return f"{where}every row of labels has a single 1: top-1, and each label by itself, as of a Sigmoid"
        what = "rows of labels with several 1, or none" if self._sets else "labels of 0 and 1 for each number"
        masks = ", 255 read as 1" if self._meaning.masks else ""
        numbers = "logits, above 0" if counted[0].kind.are_logits else "probabilities, above 0.5"
        return f"{where}{what}{masks}: the output is judged number by number, as {numbers}"

    def agreement(self) -> list[list[float | None]]:
        """Agreement of every model (row) with every other (column)."""
        many = range(len(self._names))
        return [[1.0 if a == b else self._agreement(self._pairs[min(a, b), max(a, b)]) for b in many] for a in many]


def _naming(name: str, call, *arguments) -> None:
    try:
        call(*arguments)
    except DataError as error:
        raise DataError(*(Problem(**{**vars(problem), "path": name}) for problem in error.problems)) from error

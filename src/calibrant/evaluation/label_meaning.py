"""What labels mean: their shape, their values and the output that they belong to decide it together, once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from calibrant.errors import DataError, Problem
from calibrant.evaluation.class_overlap import MOST_CLASSES
from calibrant.evaluation.given_labels import GivenLabels
from calibrant.evaluation.one_hot_width import check_width
from calibrant.evaluation.predictions import are_targets, long_axes, one_a_position

ALLOWED = (
    "class numbers [N], one for each position [N, steps] or [N, H, W], one-hot rows, "
    "0 and 1 for each number of the output, or numbers to be predicted"
)
MASK = 255
"""What stands for 1 in the pictures of masks."""


class Meaning(Enum):
    """Kinds of labels."""

    CLASSES = "class numbers"
    ONE_HOT = "rows with a single 1, each of them a class number"
    BINARY = "0 or 1 at each position"
    ROWS = "rows of 0 and 1: one-hot all of them, or several labels a sample"
    NUMBERS = "numbers to be predicted"


@dataclass
class LabelMeaning:
    """The meaning of the labels of one output.

    Parameters
    ----------
    is_probability : bool
        Whether the output comes from a Sigmoid.
    is_exclusive : bool
        Whether it comes from a Softmax, so that there is one class at each position.
    ignore : Collection[int]
        Labels that do not count.
    offset : int
        Added to class numbers, those in ``ignore`` excepted.
    """

    is_probability: bool = False
    is_exclusive: bool = False
    ignore: Collection[int] = ()
    offset: int = 0
    kind: Meaning | None = field(default=None, init=False)
    masks: bool = field(default=False, init=False)  # 255 was read as 1
    ones: bool = field(default=False, init=False)  # there was a 1 that counts

    def decide(self, labels: GivenLabels, outputs: np.ndarray) -> Meaning:
        """Decide by labels, all of them where there are, and outputs [N, ...] of a batch; later calls change nothing.

        Raises
        ------
        DataError
            The labels' shape is none that fits the output.
        """
        if self.kind is None:
            self.kind = self._kind_of(labels, np.asarray(outputs))
        return self.kind

    def _kind_of(self, labels: GivenLabels, outputs: np.ndarray) -> Meaning:
        numbers = labels.numbers
        given, found = long_axes(numbers), long_axes(outputs)
        if not _are_whole(numbers):
            return Meaning.NUMBERS
        if numbers.ndim == 1:
            if len(found) > 1 and outputs.dtype.kind not in "biu" and outputs.shape[-1] > 1:
                raise _wrong_shape(labels, outputs)
            moved = shifted(numbers, self.offset, self.ignore)
            are_numbers = are_targets(outputs, moved, self.is_probability, self.ignore)
            return Meaning.NUMBERS if are_numbers else Meaning.CLASSES
        is_real = numbers.dtype.kind == "f" and not self._are_zero_or_one(numbers)
        if outputs.dtype.kind in "biu":
            if given == found:
                return Meaning.NUMBERS if is_real else Meaning.CLASSES
        elif given and given == found[:-1] and outputs.shape[-1] > 1:
            return Meaning.CLASSES
        elif given == found and (len(found) > 1 or numbers.ndim == 2 or numbers.shape[1:] == outputs.shape[1:-1]):
            return self._kind_of_each_number(labels, outputs, is_real)
        if is_real:
            return Meaning.NUMBERS  # whose shape may be flat
        if are_one_hot(numbers) and given[:-1] == (found if outputs.dtype.kind in "biu" else found[:-1]):
            self._check_width(labels, outputs)
            return Meaning.ONE_HOT
        raise _wrong_shape(labels, outputs)

    def _kind_of_each_number(self, labels: GivenLabels, outputs: np.ndarray, is_real: bool) -> Meaning:
        """Of labels in the shape of the output, which is of real numbers."""
        numbers = labels.numbers
        if is_real and not self._are_masks(numbers, outputs):
            return Meaning.NUMBERS
        if self.is_exclusive or (numbers.ndim == 2 and not one_a_position(outputs)):
            self._check_width(labels, outputs)
            return Meaning.ONE_HOT if self.is_exclusive else Meaning.ROWS
        is_row = (outputs.shape[-1] > 1 or numbers.ndim == 2) and are_one_hot(numbers)
        if is_row and not (self.is_probability and numbers.ndim in (2, 3)):
            return Meaning.ONE_HOT
        if self._are_zero_or_one(shifted(numbers, self.offset, self.ignore)) or self._are_masks(numbers, outputs):
            return Meaning.BINARY
        if self.offset and self._are_zero_or_one(numbers):
            problem = f"labels of 0 and 1 for each number of the output, and an offset of {self.offset}"
            raise DataError(Problem(problem, file=labels.file, allowed="class numbers with --label-offset"))
        if outputs.shape[-1] > 1 and numbers.ndim != 3:
            return Meaning.ONE_HOT  # which refuses them
        return Meaning.BINARY if self.is_probability or numbers.ndim != 3 else Meaning.NUMBERS

    def _are_zero_or_one(self, numbers: np.ndarray) -> bool:
        return bool(np.isin(numbers, [0, 1, *self.ignore]).all())

    def _are_masks(self, numbers: np.ndarray, outputs: np.ndarray) -> bool:
        is_map = numbers.ndim == 3 or one_a_position(outputs)
        return is_map and not self.offset and bool(np.isin(numbers, [0, 1, MASK, *self.ignore]).all())

    def _check_width(self, labels: GivenLabels, outputs: np.ndarray) -> None:
        check_width(labels.numbers.shape[-1], outputs, labels.file, self.offset, self.ignore)

    def meant(self, labels: GivenLabels) -> np.ndarray:
        """What some of the labels mean, once that is decided.

        Returns
        -------
        np.ndarray
            Class numbers [N] or [N, ...] with the offset added, of which one-hot rows have lost their last axis; rows
            [N, labels] of 0, 1 and what is ignored; or float64 numbers to be predicted.

        Raises
        ------
        DataError
            Values that do not have this meaning, with the place of the first.
        """
        numbers = labels.numbers
        if self.kind is Meaning.NUMBERS:
            return (shifted(numbers, self.offset, self.ignore) if numbers.dtype.kind != "f" else numbers).astype(
                np.float64
            )
        if self.kind is Meaning.ONE_HOT:
            one = "the output comes from a Softmax: one class each" if self.is_exclusive else "one class each"
            hint = f"{one}; class numbers with --ignore-label (ignore_labels=) where some do not count"
            refuse(~_have_single_one(numbers), numbers, labels.file, "is no one-hot row", hint)
            return shifted(np.argmax(numbers, axis=-1).astype(np.int64), self.offset, self.ignore)
        whole = class_numbers(numbers, labels.file)
        if self.kind is Meaning.ROWS:
            wrong = ~np.isin(whole, [0, 1, *self.ignore])
            hint = (
                f"--ignore-label {whole[wrong][0]} (ignore_labels=) where such labels do not count"
                if wrong.any()
                else ""
            )
            refuse(wrong, numbers, labels.file, "is no one-hot row, and no row of 0 and 1", hint)
            return whole
        return self._binary(whole, labels) if self.kind is Meaning.BINARY else shifted(whole, self.offset, self.ignore)

    def _binary(self, numbers: np.ndarray, labels: GivenLabels) -> np.ndarray:
        numbers = shifted(numbers, self.offset, self.ignore)
        self.ones |= 1 not in self.ignore and bool((numbers == 1).any())
        is_mask = numbers == MASK
        if MASK in self.ignore or self.offset or not (self.masks or is_mask.any()):
            return numbers
        self.masks = True
        if self.ones:
            hint = f"--ignore-label {MASK} (ignore_labels=) where positions of {MASK} do not count"
            raise DataError(
                Problem(
                    f"labels of both 1 and {MASK}", file=labels.file, allowed=f"0 and 1, or 0 and {MASK}", hint=hint
                )
            )
        return np.where(is_mask, 1, numbers)


def are_one_hot(numbers: np.ndarray) -> bool:
    """Whether all rows along the last axis have a single 1 among 0."""
    return bool(_have_single_one(numbers).all())


def _have_single_one(numbers: np.ndarray) -> np.ndarray:
    is_one = numbers == 1
    return np.asarray(np.all(is_one | (numbers == 0), axis=-1) & (is_one.sum(axis=-1) == 1))


def class_numbers(array: np.ndarray, place: str) -> np.ndarray:
    """Whole numbers as integers: [N] as int64; with more axes integers keep their type, as they may be large maps.

    Raises
    ------
    DataError
        A number that is no class, with its place.
    """
    if array.dtype.kind == "b":
        return array.astype(np.uint8 if array.ndim > 1 else np.int64)
    if array.size and (float(array.max()) >= 2**31 or float(array.min()) <= -(2**31)):
        refuse(np.abs(array) >= 2**31, array, place, "is no class number")
    return array if array.ndim > 1 and array.dtype.kind in "iu" else array.astype(np.int64)


def shifted(labels: np.ndarray, offset: int, ignore: Collection[int]) -> np.ndarray:
    """Class numbers with an offset added to all but those to be ignored.

    Raises
    ------
    DataError
        No model can have as many classes as the offset.
    """
    if abs(offset) > MOST_CLASSES:
        problem = Problem(f"an offset of {offset} for the labels", allowed=f"{-MOST_CLASSES}...{MOST_CLASSES}")
        raise DataError(problem)
    if not offset:
        return labels
    wide = labels.astype(np.int64)
    return np.where(np.isin(wide, list(ignore)), wide, wide + offset)


def refuse(wrong: np.ndarray, array: np.ndarray, place: str, why: str, hint: str | None = None) -> None:
    """Raise the error of the first sample [N, ...] in which something is wrong, if there is one."""
    if wrong.any():
        index = int(np.argwhere(wrong)[0, 0])
        found = array[index] if array.ndim == 1 else np.array2string(array[index], threshold=8)
        raise DataError(Problem(f"label {found} of sample {index} {why}", file=place, allowed=ALLOWED, hint=hint))


def _are_whole(numbers: np.ndarray) -> bool:
    return numbers.dtype.kind != "f" or np.array_equal(numbers, np.floor(numbers))


def _wrong_shape(labels: GivenLabels, outputs: np.ndarray) -> DataError:
    given, sample = (", ".join(["N", *map(str, array.shape[1:])]) for array in (labels.numbers, outputs))
    positions = ", ".join(["N", *map(str, outputs.shape[1:-1])])
    fits = [f"class numbers [{sample if outputs.dtype.kind in 'biu' else positions}]"]
    if outputs.dtype.kind not in "biu":
        each = f"0 and 1 of [{positions if one_a_position(outputs) else sample}]"
        fits = [each] if one_a_position(outputs) else [*fits, each]
    problem = f"labels of shape [{given}] for an output of shape [{sample}]"
    return DataError(Problem(problem, file=labels.file, allowed=f"{', or '.join(fits)}, or numbers to be predicted"))

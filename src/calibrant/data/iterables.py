"""Python iterables and tf.data.Datasets whose items are batches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import replace
from enum import Enum
from itertools import chain, islice
from types import GeneratorType
from typing import Any, TypeGuard, cast

import numpy as np

from calibrant.data.coerce import any_batch, fit_shape, refuse_masked
from calibrant.data.input_source import Chunk
from calibrant.data.input_spec import InputSpec, Shape, meant_inputs, show
from calibrant.data.one_run_a_row import has_rows, takes_one_row, takes_one_sample
from calibrant.errors import DataError, Problem, did_you_mean

Row = dict[str, Chunk]


class ItemForm(Enum):
    """What an item is."""

    BATCH = "samples along the first axis"
    SAMPLE = "one sample, without an axis of samples"
    RUN = "all that a model without an axis of samples takes at once"
    ROWS = "rows, each of which is a RUN"


class ItemSource:
    """Items of any iterable, each one batch: an array, a tuple or list in the order of the inputs, or a dict by name.

    Parameters
    ----------
    items : Iterable | Callable[[], Iterable]
        An iterable; a function without arguments that returns one (called for every pass); a tf.data.Dataset. A
        generator or other iterator can be read once.
    inputs : Sequence[InputSpec]
        The inputs of the model, in their order.

    Attributes
    ----------
    labels : list[object] | None
        Where this is a list, the y of each ``(x, y)`` item that is read is appended.

    Raises
    ------
    DataError
        It cannot be iterated, nor can what the function returns, or a generator is read a second time.
    """

    def __init__(self, items: Iterable | Callable[[], Iterable], inputs: Sequence[InputSpec]):
        self._items = _readable(items)
        self._inputs = tuple(inputs)
        self._once = False
        self._used = False
        self._begun: object = None
        self._pulled: list[object] = []
        self.labels: list[object] | None = None
        if callable(items) and not hasattr(items, "__iter__"):
            self.place = f"what {getattr(items, '__name__', 'the function')}() returns"
            return
        self.place = f"the {type(items).__name__}"
        if isinstance(items, type) or not _can_be_iterated(items):
            allowed = "a path, an array, a dict of arrays, an iterable of batches, a tf.data.Dataset"
            raise DataError(Problem(f"{self.place} cannot be iterated", allowed=allowed))
        self._once = hasattr(items, "__next__")

    @property
    def restartable(self) -> bool:
        """Whether it can be read more than once."""
        return not self._once

    def count(self) -> int | None:
        """Number of batches, or None if only reading tells.

        Raises
        ------
        DataError
            There are none.
        """
        number = _length(self._items)
        if number == 0:
            raise DataError(Problem(f"{self.place} holds no batches"))
        return number if number is None or number > 0 else None

    @property
    def endless(self) -> bool:
        """Whether it is a tf.data.Dataset that repeats for ever, or a PyDataset without a number of batches."""
        return _length(self._items) == -1

    @property
    def end_it(self) -> str:
        """What to do about one that is endless."""
        if _is_endless_of_keras(self._items):
            return "end it: let num_batches give the number of batches"
        return "end it: dataset.take(number of batches)"

    def form(self) -> ItemForm:
        """What the items are, judged by the first, which is read; of lists, by the lengths of all.

        A generator continues after its first item, which is kept.
        """
        item = next(self._read(), None) if not self._once else self._pull()
        if item is None:
            return ItemForm.BATCH
        label = f"item 0 of {self.place}"
        arrays = {name: np.shape(_array(value, name, label)) for name, value in self._by_name(item, label).items()}
        shapes = {spec.name: spec.shape for spec in self._inputs if spec.shape}
        is_one = takes_one_sample(self._inputs)
        if all(fit_shape(arrays[name], shape) is not None for name, shape in shapes.items()):
            return ItemForm.RUN if is_one or self._are_recordings(arrays) else ItemForm.BATCH
        if not is_one and all(
            fit_shape((1, *arrays[name]), any_batch(shape)) is not None for name, shape in shapes.items()
        ):
            return ItemForm.SAMPLE
        by_row = all(
            has_rows(arrays[spec.name], spec) or arrays[spec.name] == spec.shape == () for spec in self._inputs
        )
        return ItemForm.ROWS if by_row else ItemForm.BATCH

    def _are_recordings(self, first: Mapping[str, Shape]) -> bool:
        """Whether each item is one run of a model that seems to take recordings.

        Where it leaves their length open, the items could be batches of numbers, unless the lengths of a list differ as
        those of batches do not, of which only the last is shorter.
        """
        if len(self._inputs) > 1 or not takes_one_row(self._inputs[0]):
            return False
        [spec] = self._inputs
        if first[spec.name] == spec.shape:
            return True
        if not isinstance(self._items, (list, tuple)):
            return False
        lengths = [
            _array(self._by_name(item, self.place)[spec.name], spec.name, self.place).size for item in self._items
        ]
        return len({*lengths[:-1], max(lengths)}) > 1

    def _pull(self) -> object:
        self._pulled = list(islice(self._read(), 1))
        return self._pulled[0] if self._pulled else None

    def runs(self) -> Iterator[Row]:
        """The items, and the rows of those that have one axis more than the inputs, each as one chunk per input.

        Raises
        ------
        DataError
            The inputs of an item have different numbers of rows, or there is not one y a row.
        """
        specs = {spec.name: spec for spec in self._inputs}
        for row in self.rows():
            by_row = {name for name, piece in row.items() if has_rows(piece.array.shape, specs[name])}
            counts = {len(row[name].array) for name in by_row}
            if not counts:
                yield {name: replace(piece, is_sample=True) for name, piece in row.items()}
                continue
            label = next(iter(row.values())).label
            if len(counts) > 1:
                problem = f"{label} has {' and '.join(map(str, sorted(counts)))} rows, the inputs need the same number"
                raise DataError(Problem(problem))
            [count] = counts
            labels = _rows_of_labels(self.labels.pop(), count, f"{label}") if self.labels else None
            for at in range(count):
                if self.labels is not None and labels is not None:
                    self.labels.append(labels[at])
                yield {
                    name: replace(
                        piece,
                        array=piece.array[at] if name in by_row else piece.array,
                        label=f"row {at} of {piece.label}",
                        is_sample=True,
                    )
                    for name, piece in row.items()
                }

    def _iterate(self) -> Iterable[object]:
        if callable(self._items) and not hasattr(self._items, "__iter__"):
            items = _readable(self._items())
            if not _can_be_iterated(items):
                hint = "does the function lack a return?" if items is None else None
                message = f"{self.place} cannot be iterated: {items!r:.80} ({type(items).__name__})"
                raise DataError(Problem(message, allowed="an iterable of batches, a tf.data.Dataset", hint=hint))
            return self._begun_anew(items)
        return self._begun_anew(cast("Iterable[object]", self._items))

    def _begun_anew(self, items: Iterable[object]) -> Iterable[object]:
        """What is iterated now: no generator that was before, of which items are gone."""
        begun = iter(items)
        if begun is self._begun and isinstance(begun, GeneratorType) and not self._once:
            message = f"{self.place} is the same generator each time, of which items have been read"
            raise DataError(Problem(message, hint="make a new generator in each call, as in lambda: batches()"))
        self._begun = begun if isinstance(begun, GeneratorType) else None
        return begun

    def batches(self, size: int, whole_only: bool) -> Iterator[Row]:
        """Samples stacked, ``size`` in a batch; ``whole_only`` leaves out a last batch with fewer.

        Raises
        ------
        DataError
            Samples have different shapes.
        """
        rows, first = self.rows(), 0
        while group := list(islice(rows, size)):
            if whole_only and len(group) < size:
                return
            yield {name: self._together([row[name] for row in group], name, first) for name in group[0]}
            first += len(group)

    def _together(self, chunks: Sequence[Chunk], name: str, first: int) -> Chunk:
        shapes = {piece.array.shape for piece in chunks}
        if len(shapes) > 1:
            message = f"the samples of {self.place} have shapes {' and '.join(map(show, sorted(shapes)[:2]))}"
            raise DataError(
                Problem(message, path=f"input {name!r}", hint="give samples of one shape, or batches of one")
            )
        label = f"items {first}...{first + len(chunks) - 1} of {self.place}"
        return Chunk(np.stack([piece.array for piece in chunks]), label=label, first=first)

    def rows(self) -> Iterator[Row]:
        """The items, each as one chunk per input."""
        if self._once and self._used:
            hint = "pass a list, a function that returns a new generator, or a tf.data.Dataset"
            raise DataError(Problem(f"{self.place} can be read only once, and that has been done", hint=hint))
        self._used = True
        if self.labels is not None:
            self.labels.clear()
        for number, item in enumerate(self._read()):
            label = f"item {number} of {self.place}"
            if self.labels is not None and is_labelled(item, len(self._inputs)):
                self.labels.append(item[1])
            arrays = self._by_name(item, label)
            yield {name: Chunk(_array(value, name, label), label=label) for name, value in arrays.items()}

    def _read(self) -> Iterator[object]:
        number = 0
        try:
            for item in chain(self._pulled, self._iterate()):
                yield item
                number += 1
        except Exception as error:
            if not type(error).__module__.startswith("tensorflow.python.framework.errors"):
                raise
            from calibrant.data.datasets import reason_of

            raise DataError(Problem(f"item {number} of {self.place} cannot be read: {reason_of(error)}")) from error

    def _by_name(self, item: object, label: str) -> dict[str, object]:
        names = [spec.name for spec in self._inputs]
        if is_labelled(item, len(names)):
            item = item[0]
        if isinstance(item, Mapping):
            return self._from_mapping(item, label)
        if isinstance(item, (tuple, list)) and (len(names) > 1 or (item and all(map(_is_array, item)))):
            if len(item) != len(names):
                message = f"{label} has {len(item)} arrays, the model has {len(names)} inputs ({', '.join(names)})"
                hint = "yield only the inputs, in their order, or a dict by input name"
                if len(item) > len(names) > 1:
                    hint += f"; labels stand beside these: (({', '.join(names)}), y)"
                raise DataError(Problem(message, hint=hint))
            return dict(zip(names, item, strict=True))
        if len(names) > 1:
            message = f"{label} is one array, the model has {len(names)} inputs ({', '.join(names)})"
            raise DataError(Problem(message, allowed="a tuple in the order of the inputs, or a dict by input name"))
        return {names[0]: item}

    def _from_mapping(self, item: Mapping, label: str) -> dict[str, object]:
        key_of = {str(key): key for key in item}
        keys = {name: key_of[text] for text, name in meant_inputs(key_of, self._inputs).items()}
        missing = [spec.name for spec in self._inputs if spec.name not in keys]
        if missing:
            given = [str(key) for key in item]
            names = ", ".join(given) or "nothing"
            raise DataError(
                *(
                    Problem(
                        f"{label} has no {name!r}, only {names}",
                        path=f"input {name!r}",
                        hint=did_you_mean(name, given),
                    )
                    for name in missing
                )
            )
        return {spec.name: item[keys[spec.name]] for spec in self._inputs}


def is_labelled(item: object, inputs: int) -> TypeGuard[tuple[object, ...]]:
    """Whether an item is ``(x, y)`` or ``(x, y, weights)``, as in datasets for training."""
    if not isinstance(item, tuple) or len(item) not in (2, 3):
        return False
    first = item[0]
    if isinstance(first, (tuple, list)):
        return bool(first) and all(map(_is_array, first))
    return isinstance(first, Mapping) or (inputs == 1 and _is_array(first))


def _rows_of_labels(labels: object, count: int, label: str) -> list[object]:
    """The y of each row of an item."""
    if isinstance(labels, Mapping):
        parts = {key: _rows_of_labels(value, count, label) for key, value in labels.items()}
        return [{key: part[at] for key, part in parts.items()} for at in range(count)]
    array = np.asarray(labels)
    if array.shape[:1] != (count,):
        problem = f"{label} has {count} rows and y of shape {show(array.shape)}"
        raise DataError(Problem(problem, allowed="one label a row"))
    return list(array)


def _can_be_iterated(items: object) -> TypeGuard[Iterable[object]]:
    return hasattr(items, "__iter__") or hasattr(items, "__getitem__")


def _length(items: object) -> int | None:
    """The number of items; -1 for a dataset without end, None if it is not known."""
    if _is_endless_of_keras(items):
        return -1
    cardinality = getattr(items, "cardinality", None)
    if callable(cardinality):
        number = int(cardinality())
        return number if number >= -1 else None
    try:
        return len(items) if isinstance(items, Sized) else None
    except (TypeError, ValueError, OverflowError):  # as of loaders that know no length, or give -1 for it
        return None


def _is_endless_of_keras(items: Any) -> bool:
    """Whether it is a PyDataset without a number of batches, which goes on for ever."""
    if not any(each.__name__ == "PyDataset" for each in type(items).__mro__):
        return False
    try:
        return items.num_batches is None
    except NotImplementedError:  # of the class itself; Keras counts on
        return True


def _readable(items: Any) -> Any:
    """A tf.data.Dataset as it can be read; none is there before TensorFlow is."""
    if sys.modules.get("tensorflow") is None:
        return items
    from calibrant.data.datasets import readable

    return readable(items)


def _is_array(value: object) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _array(value: object, name: str, label: str) -> np.ndarray:
    """A copy, because a generator may fill the same array again while the batch before is still in use."""
    refuse_masked(value, name)
    try:
        array = np.array(value)
    except (ValueError, TypeError) as error:
        message = f"{label} is no array: {error}"
        raise DataError(Problem(message, path=f"input {name!r}")) from error
    if array.dtype == object and not all(isinstance(one, (str, bytes)) for one in array.flat):
        message = f"{label} is of type {type(value).__name__}, no array of numbers"
        raise DataError(Problem(message, path=f"input {name!r}"))
    return array

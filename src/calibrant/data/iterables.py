"""Python iterables and tf.data.Datasets whose items are batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from calibrant.data.input_source import Chunk
from calibrant.data.input_spec import InputSpec, plain
from calibrant.errors import DataError, Problem, did_you_mean

Row = dict[str, Chunk]


class ItemSource:
    """Items of any iterable, each one batch: an array, a tuple or list in the order of the inputs, or a dict by name.

    Parameters
    ----------
    items : an iterable; a function without arguments that returns one (called for every pass); a tf.data.Dataset.
        Something that is its own iterator (a generator) can be read once.

    Raises
    ------
    DataError : it cannot be iterated, or is read a second time though it cannot be.
    """

    def __init__(self, items: Iterable | Callable[[], Iterable], inputs: Sequence[InputSpec]):
        self._items = items
        self._inputs = tuple(inputs)
        self._once = False
        self._used = False
        if callable(items) and not hasattr(items, "__iter__"):
            self.place = f"what {getattr(items, '__name__', 'the function')}() returns"
            return
        self.place = f"the {type(items).__name__}"
        if not hasattr(items, "__iter__") and not hasattr(items, "__getitem__"):
            allowed = "a path, an array, a dict of arrays, an iterable of batches, a tf.data.Dataset"
            raise DataError(Problem(f"{self.place} cannot be iterated", allowed=allowed))
        self._once = hasattr(items, "__next__")

    @property
    def restartable(self) -> bool:
        """Whether it can be read more than once."""
        return not self._once

    def count(self) -> int | None:
        """How many batches there are, where that is known beforehand.

        Raises
        ------
        DataError : there is none.
        """
        many = _length(self._items)
        if many == 0:
            raise DataError(Problem(f"{self.place} holds no batches"))
        return many if many is None or many > 0 else None

    @property
    def endless(self) -> bool:
        """Whether a tf.data.Dataset says of itself that it repeats for ever."""
        return _length(self._items) == -1

    def rows(self) -> Iterator[Row]:
        """The items as one piece per input."""
        if self._once and self._used:
            hint = "pass a list, a function that returns a new generator, or a tf.data.Dataset"
            raise DataError(Problem(f"{self.place} can be read only once, and that has been done", hint=hint))
        self._used = True
        items = self._items() if callable(self._items) and not hasattr(self._items, "__iter__") else self._items
        for number, item in enumerate(items):
            label = f"item {number} of {self.place}"
            arrays = self._by_name(item, label)
            yield {name: Chunk(_array(value, name, label), label=label) for name, value in arrays.items()}

    def _by_name(self, item: object, label: str) -> dict[str, object]:
        names = [spec.name for spec in self._inputs]
        if isinstance(item, Mapping):
            return self._from_mapping(item, label)
        if isinstance(item, (tuple, list)) and (len(names) > 1 or (item and all(map(_is_array, item)))):
            if len(item) != len(names):
                message = f"{label} has {len(item)} arrays, the model has {len(names)} inputs ({', '.join(names)})"
                raise DataError(Problem(message, hint="yield only the inputs, in their order, or a dict by input name"))
            return dict(zip(names, item, strict=True))
        if len(names) > 1:
            message = f"{label} is one array, the model has {len(names)} inputs ({', '.join(names)})"
            raise DataError(Problem(message, allowed="a tuple in the order of the inputs, or a dict by input name"))
        return {names[0]: item}

    def _from_mapping(self, item: Mapping, label: str) -> dict[str, object]:
        keys = {plain(str(key)): key for key in item}
        missing = [spec.name for spec in self._inputs if plain(spec.name) not in keys]
        if missing:
            found = ", ".join(map(str, item)) or "nothing"
            raise DataError(
                *(
                    Problem(
                        f"{label} has no {name!r}, only {found}", path=f"input {name!r}", hint=did_you_mean(name, keys)
                    )
                    for name in missing
                )
            )
        return {spec.name: item[keys[plain(spec.name)]] for spec in self._inputs}


def _length(items: object) -> int | None:
    """The number of items; -1 for a dataset without end, None where it is not known."""
    cardinality = getattr(items, "cardinality", None)
    if callable(cardinality):
        many = int(cardinality())
        return many if many >= -1 else None
    try:
        return len(items)
    except TypeError:
        return None


def _is_array(value: object) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _array(value: object, name: str, label: str) -> np.ndarray:
    """A copy: many a generator fills the same array again, and the batch before is still under way then."""
    try:
        array = np.array(value)
    except (ValueError, TypeError) as error:
        message = f"{label} is no array: {error}"
        raise DataError(Problem(message, path=f"input {name!r}")) from error
    if array.dtype == object and not all(isinstance(one, (str, bytes)) for one in array.flat):
        message = f"{label} is of type {type(value).__name__}, no array of numbers"
        raise DataError(Problem(message, path=f"input {name!r}"))
    return array

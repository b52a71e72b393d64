"""A tf.data.Dataset read with eager execution on or off, and one that was made where it is off."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from calibrant.errors import DataError, Problem
from calibrant.graph.tensorflow import cause_of, eagerly, tensorflow

_DECORATION = re.compile(r"^\{\{.*?\}\} ?| *\[Op:.*$")
"""The name of the internal node and operation around TensorFlow's own message."""


def reason_of(error: Exception) -> str:
    """The first line of what an error of TensorFlow's operations says, without names of internal nodes."""
    lines = [_DECORATION.sub("", line).strip() for line in str(getattr(error, "message", error)).splitlines()]
    return next(filter(None, lines), type(error).__name__)


def readable(items: Any) -> Any:
    """Items as they can be read, whether or not the caller executes eagerly.

    Parameters
    ----------
    items : Any
        What a caller gave; all but a tf.data.Dataset stays what it is.
    """
    if not isinstance(items, tensorflow().data.Dataset):
        return items
    is_symbolic = not hasattr(tensorflow().data.experimental.to_variant(items), "numpy")
    return _OfGraph(items) if is_symbolic else _Eager(items)


def read_eagerly(make: Callable[[], Iterable[object]]) -> Iterator[object]:
    """The items of what ``make`` gives; only while one is read are operations run at once.

    Parameters
    ----------
    make : Callable[[], Iterable[object]]
        Makes a dataset, or gives one.
    """
    with eagerly():
        iterator = iter(make())
    while True:
        with eagerly():
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item


class _Eager:
    """A dataset that holds its values."""

    def __init__(self, dataset: Any):
        self._dataset = dataset

    def cardinality(self) -> int:
        with eagerly():
            return int(self._dataset.cardinality())

    def __iter__(self) -> Iterator[object]:
        return read_eagerly(lambda: self._dataset)


class _OfGraph:
    """A dataset that is an operation of a graph; it is read in a copy of that, so that nothing of the caller's changes.

    Raises
    ------
    DataError
        TensorFlow cannot read it.
    """

    def __init__(self, dataset: Any):
        self._dataset = dataset

    def cardinality(self) -> int:
        with self._opened() as (dataset, session), session.graph.as_default():
            return int(session.run(dataset.cardinality()))

    def __iter__(self) -> Iterator[object]:
        tf = tensorflow()
        with self._opened() as (dataset, session):
            with session.graph.as_default():
                iterator = tf.compat.v1.data.make_initializable_iterator(dataset)
                item = iterator.get_next()
            session.run(iterator.initializer)
            while True:
                try:
                    found = session.run(item)
                except tf.errors.OutOfRangeError:
                    return
                yield found

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        tf = tensorflow()
        variant = tf.data.experimental.to_variant(self._dataset)
        session = None
        try:
            with tf.Graph().as_default() as graph:
                definition = variant.graph.as_graph_def()
                (copied,) = tf.graph_util.import_graph_def(definition, return_elements=[variant.name], name="")
                dataset = tf.data.experimental.from_variant(copied, self._dataset.element_spec)
            session = tf.compat.v1.Session(graph=graph)
            yield dataset, session
        except (tf.errors.OpError, ValueError) as error:
            hint = "give a function that returns a generator of arrays"
            message = f"the {type(self._dataset).__name__} cannot be read: {cause_of(error)}"
            raise DataError(Problem(message, hint=hint)) from error
        finally:
            if session is not None:
                session.close()

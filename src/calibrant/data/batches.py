"""What every source of data is read as: batches of arrays by input name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np

from calibrant.data.coerce import coerce
from calibrant.data.input_source import Chunk
from calibrant.data.input_spec import InputSpec
from calibrant.errors import DataError, Problem

Rows = Callable[[], Iterator[dict[str, Chunk]]]


class Batches:
    """Batches of arrays by input name; can be iterated again unless ``restartable`` is False.

    Each is ``{input name: array}`` with C-contiguous arrays of the inputs' types and shapes and finite values. Arrays
    may be views of what the caller passed in: do not write into them.

    Attributes
    ----------
    count : how many batches an iteration yields; None where only reading tells.
    samples : how many samples these hold; None where only reading tells.
    batch_num : how many were asked for; None: all there are.
    restartable : whether it can be read more than once.
    """

    def __init__(
        self,
        rows: Rows,
        inputs: Sequence[InputSpec],
        *,
        place: str,
        count: int | None = None,
        samples: int | None = None,
        batch_num: int | None = None,
        restartable: bool = True,
        lone_samples: bool = False,
        note: str = "",
    ):
        self._rows = rows
        self._inputs = tuple(inputs)
        self._place = place
        self._lone_samples = lone_samples
        self._note = note
        self.count = count if batch_num is None else batch_num
        self.samples = samples
        self.batch_num = batch_num
        self.restartable = restartable

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """Read the batches from the start.

        Raises
        ------
        DataError : data that do not fit, that are not finite, that cannot be read, or that end before ``batch_num``.
        """
        yielded = 0
        for row in islice(self._rows(), self.batch_num):
            yield {spec.name: coerce(row[spec.name], spec, lone_sample=self._lone_samples) for spec in self._inputs}
            yielded += 1
        if not yielded:
            raise DataError(Problem("there are no batches", file=self._place))
        if self.batch_num is not None and yielded < self.batch_num:
            raise too_few(self.batch_num, f"{yielded}", self._place)

    def describe(self) -> str:
        """Where the data come from and how many there are, in one line."""
        many = "batches as they come" if self.count is None else plural(self.count, "batch", "batches")
        samples = "" if self.samples is None else f" ({plural(self.samples, 'sample', 'samples')})"
        return f"{self._place}: {many}{samples}{self._note}"


def too_few(wanted: int, found: str, place: str, samples: int | None = None, size: int | None = None) -> DataError:
    """The error of data that end before batch_num."""
    of = f" ({samples} samples, {size} in a batch)" if size is not None else ""
    hint = "lower batch_num" + (" or the batch size" if size not in (None, 1) else "") + ", or give more data"
    return DataError(Problem(f"batch_num is {wanted}, the data are {found} batches{of}", file=place, hint=hint))


def plural(many: int, one: str, several: str) -> str:
    """``1 batch``, ``2 batches``."""
    return f"{many} {one if many == 1 else several}"

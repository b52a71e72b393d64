"""Batches of arrays by input name, in which form every source of data is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

import numpy as np

from calibrant.data.coerce import Extremes, coerce
from calibrant.data.different_samples import DifferentSamples
from calibrant.data.fingerprint import Fingerprint
from calibrant.data.input_source import Chunk
from calibrant.data.input_spec import InputSpec
from calibrant.errors import DataError, Problem
from calibrant.fed_shapes import FedShapes

Rows = Callable[[], Iterator[dict[str, Chunk]]]


def sample_count(batch: Mapping[str, np.ndarray]) -> int:
    """Number of samples in a batch; 1 if all of its arrays are scalars."""
    return max((len(array) for array in batch.values() if np.ndim(array)), default=1)


def samples_of_shapes(shapes: Mapping[str, Sequence[int | None]], inputs: Sequence[InputSpec]) -> int:
    """Number of samples in a batch of these shapes.

    Inputs whose first size the model fixes have none where it leaves that of others open. Where these differ, as of
    time before samples, those with the fewest axes tell: the lengths of sequences have no axis but that of samples.
    """
    fixed = {spec.name for spec in inputs if spec.fixed_batch is not None}
    listed = {name: shape for name, shape in shapes.items() if shape}
    counting = [shape for name, shape in listed.items() if name not in fixed] or list(listed.values())
    fewest = min(map(len, counting), default=0)
    return max((shape[0] or 0 for shape in counting if len(shape) == fewest), default=1)


class Batches:
    """Batches of arrays by input name; can be iterated again unless ``restartable`` is False.

    Each is ``{input name: array}`` with C-contiguous arrays of the inputs' types and shapes and finite values. Arrays
    may be views of what the caller passed in: do not write into them.

    Attributes
    ----------
    count : int | None
        Number of batches that an iteration yields; None if only reading tells.
    samples : int | None
        Number of samples in these; None if only reading tells.
    batch_num : int | None
        Number of batches that were asked for; None: all, up to the limit of samples.
    available : int | None
        Number of samples in the source; None if only reading tells.
    used : tuple[int, int] | None
        Numbers of batches and samples that the last whole iteration has yielded; None before it.
    fingerprint : str | None
        Of the values that the first whole iteration has yielded, batch by batch, input by input; None before it.
    seen : Extremes
        Smallest and largest values of the batches that were yielded.
    repeated : str | None
        That most of the first samples of the first whole iteration are copies, in words; None before it.
    unvaried : tuple[str, ...]
        Inputs of floats without samples, as their first axis is fixed and that of others open, that had the same values
        in every batch of the first whole iteration.
    fed : FedShapes | None
        Shapes of the first batch that was read, with one of its samples; None before, and where it is not known which
        of several open axes that come first is that of samples.
    restartable : bool
        Whether it can be read more than once.
    one_a_run : bool
        Whether each batch is one sample: all that the model takes at once, without an axis of samples.
    has_changed : bool
        Whether a later iteration has yielded other values than the first whole one, or another number of batches.
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
        sample_limit: int | None = None,
        available: int | None = None,
        note: str = "",
        labels: list[object] | None = None,
        one_a_run: bool = False,
    ):
        self._rows = rows
        self._inputs = tuple(inputs)
        self._place = place
        self._sample_limit = sample_limit
        self._note = note
        self._labels = labels
        self.count = count if batch_num is None else batch_num
        self.samples = samples
        self.batch_num = batch_num
        self.restartable = restartable
        self.one_a_run = one_a_run
        self.available = available
        self.used: tuple[int, int] | None = None
        if self.count is not None and samples is not None:
            self.used = self.count, samples
        self.fingerprint: str | None = None
        self.seen = Extremes()
        self.repeated: str | None = None
        self.unvaried: tuple[str, ...] = ()
        self.has_changed = False
        self.fed: FedShapes | None = None
        self._first: tuple[str, ...] | None = None  # what the first whole iteration had yielded after each batch

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """Read the batches from the start.

        Raises
        ------
        DataError
            Data do not fit, are not finite, cannot be read, have no samples, or end before ``batch_num``.
        """
        yielded = samples = 0
        fingerprint, until, different = Fingerprint(), list[str](), DifferentSamples()
        values = {spec.name: set[str]() for spec in self._without_samples()}
        for row in islice(self._rows(), self.batch_num):
            batch = {spec.name: coerce(row[spec.name], spec, self.seen) for spec in self._inputs}
            if not sample_count(batch):
                raise DataError(Problem(f"batch {yielded} holds no samples", file=self._place, hint="leave it out"))
            if self.fed is None and not yielded:
                self.fed = self._fed_shapes(batch)
            for array in batch.values():
                fingerprint.add(array)
            for name, found in values.items():
                own = Fingerprint()
                own.add(batch[name])
                found.add(own.hexdigest())
            until.append(fingerprint.hexdigest())
            if self._first is None:
                different.add(*self._by_sample(batch))
            else:
                self.has_changed |= self._first[yielded : yielded + 1] != (until[-1],)
            yield batch
            yielded += 1
            samples += self.samples_in(batch)
            if self._sample_limit is not None and samples >= self._sample_limit:
                break
        self.used = yielded, samples
        if self._first is None:
            self._first, self.fingerprint = tuple(until), fingerprint.hexdigest()
            self.repeated = different.repeated
            self.unvaried = tuple(name for name, found in values.items() if len(found) == 1)
        self.has_changed |= len(self._first) != yielded
        if not yielded:
            raise DataError(Problem("there are no batches", file=self._place))
        if self.batch_num is not None and yielded < self.batch_num:
            raise too_few(self.batch_num, f"{yielded}", self._place)

    def _without_samples(self) -> list[InputSpec]:
        read = [spec for spec in self._inputs if spec.is_read and spec.shape]
        if self._first is not None or self.one_a_run or all(spec.fixed_batch is not None for spec in read):
            return []
        return [spec for spec in read if spec.fixed_batch is not None and spec.dtype.kind == "f"]

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """What the model asks for."""
        return self._inputs

    @property
    def place(self) -> str:
        """Where the data come from."""
        return self._place

    def samples_in(self, batch: Mapping[str, np.ndarray]) -> int:
        """Number of samples in one of the batches."""
        if self.one_a_run:
            return 1
        return samples_of_shapes({name: np.shape(array) for name, array in batch.items()}, self._inputs)

    def _fed_shapes(self, batch: Mapping[str, np.ndarray]) -> FedShapes | None:
        shapes = {name: np.shape(array) for name, array in batch.items()}
        if self.one_a_run:
            return shapes
        counting = [shapes[spec.name][0] for spec in self._inputs if spec.fixed_batch is None and shapes[spec.name]]
        if len(set(counting)) > 1:
            return None
        return {name: (1, *shape[1:]) if shape else () for name, shape in shapes.items()}

    def _by_sample(self, batch: Mapping[str, np.ndarray]) -> tuple[list[np.ndarray], int]:
        """What is read of a batch along the axis of its samples, and how many these are.

        Where inputs have other axes first, the batch is one sample. Inputs of a fixed size belong to all samples.
        """
        read = {spec: batch[spec.name] for spec in self._inputs if spec.is_read}
        samples = self.samples_in(batch)
        others = [spec for spec, array in read.items() if np.ndim(array) and len(array) != samples]
        if self.one_a_run or any(spec.fixed_batch is None for spec in others):
            return [array[np.newaxis] for array in read.values()], 1
        return [array for spec, array in read.items() if spec not in others], samples

    def number(self) -> int:
        """How many batches there are; where only reading tells, they are read."""
        if self.count is not None:
            return self.count
        return self.usage()[0]

    def usage(self) -> tuple[int, int]:
        """How many batches and samples a whole iteration yields; if only reading tells, they are read."""
        if self.used is None:
            for _ in self:
                pass
        return self.used or (0, 0)

    def take_labels(self) -> list[object]:
        """The y that came with the samples since the last call, one entry an item that was read; empty without any."""
        if self._labels is None:
            return []
        taken = self._labels.copy()
        self._labels.clear()
        return taken

    def describe(self) -> str:
        """Where the data come from and how many there are, in one line."""
        many = "batches as they come" if self.count is None else plural(self.count, "batch", "batches")
        samples = "" if self.samples is None else f" ({plural(self.samples, 'sample', 'samples')})"
        return f"{self._place}: {many}{samples}{self._note}"


class TooFewBatches(DataError):
    """Data that end before ``batch_num``."""


def too_few(wanted: int, found: str, place: str, samples: int | None = None, size: int | None = None) -> TooFewBatches:
    """The error of data that end before batch_num."""
    of = f" ({samples} samples, {size} in a batch)" if size is not None else ""
    hint = "lower batch_num" + (" or the batch size" if size not in (None, 1) else "") + ", or give more data"
    return TooFewBatches(Problem(f"batch_num is {wanted}, the data are {found} batches{of}", file=place, hint=hint))


def plural(many: int, one: str, several: str) -> str:
    """``1 batch``, ``2 batches``."""
    return f"{many} {one if many == 1 else several}"

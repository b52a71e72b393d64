"""The data of one input, read piece by piece."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

import numpy as np

from calibrant.data.input_spec import Shape
from calibrant.errors import DataError, Problem


@dataclass(frozen=True)
class Chunk:
    """One batch of one input as its source holds it.

    ``file`` is the file that it came from, ``label`` what else tells it from the other pieces ("item 3"), ``first`` the
    index of its first sample in the whole source where that is known.
    """

    array: np.ndarray
    file: str | None = None
    label: str | None = None
    first: int | None = None


class InputSource(Protocol):
    """Everything that a source holds for one input.

    ``place`` names it for the user; ``shape`` has the number of samples first; ``cut`` says whether samples are cut
    into batches of a chosen size (arrays, images) or come as batches already (.bin files).
    """

    place: str
    shape: Shape
    dtype: np.dtype
    cut: bool

    def count(self, batch_size: int) -> int | None:
        """How many pieces there are; None: as many as the others have."""

    def chunks(self, batch_size: int) -> Iterator[Chunk]:
        """The pieces in order, from the start at every call."""


@dataclass(frozen=True)
class SampleSlice:
    """The samples from ``start`` up to and without ``stop``; None: to the end."""

    start: int = 0
    stop: int | None = None

    def bounds(self, samples: int) -> tuple[int, int]:
        """The window within a source of so many samples."""
        stop = samples if self.stop is None else min(self.stop, samples)
        return min(self.start, stop), stop


class ArraySource:
    """An array, in memory or mapped from a file, cut along its first axis."""

    cut = True

    def __init__(self, array: np.ndarray, place: str, file: str | None = None, window: SampleSlice | None = None):
        self._array = array
        self._file = file
        self._start, self._stop = (window or SampleSlice()).bounds(len(array))
        self.place = place
        self.shape = (self._stop - self._start, *array.shape[1:])
        self.dtype = array.dtype

    def count(self, batch_size: int) -> int:
        """Batches, a last one with fewer samples included."""
        return -(-self.shape[0] // batch_size)

    def chunks(self, batch_size: int) -> Iterator[Chunk]:
        """Slices of the array; of a mapped file, copies, so that nothing keeps its pages."""
        for start in range(self._start, self._stop, batch_size):
            part = self._array[start : min(start + batch_size, self._stop)]
            part = np.array(part) if isinstance(part, np.memmap) else part
            yield Chunk(part, file=self._file, first=start)


class ConstantSource:
    """One scalar that every batch is fed with, for inputs of rank 0."""

    cut = False

    def __init__(self, value: np.ndarray, place: str, file: str | None = None):
        self._value = value
        self._file = file
        self.place = place
        self.shape = ()
        self.dtype = value.dtype

    def count(self, batch_size: int) -> None:
        """As many as the other inputs have."""
        return

    def chunks(self, batch_size: int) -> Iterator[Chunk]:
        """The same value without end."""
        while True:
            yield Chunk(self._value, file=self._file)


@dataclass
class StreamSource:
    """Samples that lie one after the other in a stream that cannot be mapped (a member of a .npz, a gzip file).

    ``open_stream`` opens it at the first sample of the whole file.
    """

    place: str
    file: str
    stored: Shape
    dtype: np.dtype
    open_stream: Callable[[], AbstractContextManager[BinaryIO]]
    window: SampleSlice = field(default_factory=SampleSlice)
    cut: bool = field(default=True, init=False)

    @property
    def shape(self) -> Shape:
        """The number of samples in the window, then the shape of a sample."""
        start, stop = self.window.bounds(self.stored[0])
        return (stop - start, *self.stored[1:])

    def count(self, batch_size: int) -> int:
        """Batches, a last one with fewer samples included."""
        return -(-self.shape[0] // batch_size)

    def chunks(self, batch_size: int) -> Iterator[Chunk]:
        """Read one batch after the other; no more than one is held.

        Raises
        ------
        DataError : the stream ends early or is damaged.
        """
        start, stop = self.window.bounds(self.stored[0])
        sample_bytes = int(np.prod(self.stored[1:], dtype=np.int64)) * self.dtype.itemsize
        with read_errors(self.file), self.open_stream() as stream:
            _skip(stream, start * sample_bytes)
            for first in range(start, stop, batch_size):
                many = min(batch_size, stop - first)
                raw = stream.read(many * sample_bytes)
                if len(raw) != many * sample_bytes:
                    found = first * sample_bytes + len(raw)
                    message = f"{self.stored[0] * sample_bytes} bytes of data were expected, {found} found"
                    raise DataError(Problem(message, file=self.file, hint="the file is truncated"))
                array = np.frombuffer(raw, dtype=self.dtype).reshape(many, *self.stored[1:])
                yield Chunk(array, file=self.place, first=first)


@contextmanager
def read_errors(file: str) -> Iterator[None]:
    """Turn whatever a damaged or unreadable file raises into one DataError that names it."""
    try:
        yield
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        named = error.strerror if isinstance(error, OSError) else None
        reason = named or str(error) or type(error).__name__
        raise DataError(Problem(f"the file cannot be read: {reason}", file=file)) from error


def _skip(stream: BinaryIO, many: int) -> None:
    while many > 0:
        part = stream.read(min(many, 1 << 20))
        if not part:
            raise EOFError("it ends before the first sample that was asked for")
        many -= len(part)

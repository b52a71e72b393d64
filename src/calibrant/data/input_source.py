"""The data of one input, read piece by piece."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import IO, Protocol

import numpy as np

from calibrant.data.input_spec import Shape
from calibrant.errors import DataError, Problem

MOST_AFTER = 256 << 20  # bytes that may follow the values in a stream
_BRACKETS = re.compile(r"\[[^\[\]]*\]$")


@dataclass(frozen=True)
class Chunk:
    """One batch of one input as its source holds it.

    Parameters
    ----------
    array : np.ndarray
        The samples along the first axis.
    file : str | None
        The file that it came from.
    label : str | None
        What else distinguishes it from other chunks, like "item 3".
    first : int | None
        Index of its first sample in the whole source; None: not known.
    is_sample : bool
        Whether the array is one sample, without an axis of samples.
    """

    array: np.ndarray
    file: str | None = None
    label: str | None = None
    first: int | None = None
    is_sample: bool = False


class InputSource(Protocol):
    """Everything that a source holds for one input."""

    @property
    def place(self) -> str:
        """Name of the source for the user."""

    @property
    def shape(self) -> Shape:
        """The number of samples, then the shape of a sample."""

    @property
    def dtype(self) -> np.dtype:
        """Type of the stored values."""

    @property
    def cut(self) -> bool:
        """Whether samples are cut into batches of a chosen size (arrays, images), or come as batches (.bin files)."""

    def count(self, batch_size: int) -> int | None:
        """Number of chunks; None: as many as the other inputs have."""

    def chunks(self, batch_size: int) -> Iterator[Chunk]:
        """The chunks in order, from the start at every call."""


@dataclass(frozen=True)
class SampleSlice:
    """The samples from ``start`` up to, but not including, ``stop``; None: to the end."""

    start: int = 0
    stop: int | None = None

    def bounds(self, samples: int) -> tuple[int, int]:
        """Start and stop in a source of so many samples."""
        stop = samples if self.stop is None else min(self.stop, samples)
        return min(self.start, stop), stop


def slice_hint(word: str) -> str | None:
    """What a slice of samples may be, for a word that ends like one of another form and names nothing."""
    if not _BRACKETS.search(word):
        return None
    return "[start:stop] chooses samples: whole numbers from 0, without a step, and either may be left out"


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
        """Number of batches, a last one with fewer samples included."""
        return -(-self.shape[0] // batch_size)

    def chunks(self, batch_size: int) -> Iterator[Chunk]:
        """Slices of the array; of a mapped file, copies, so that nothing keeps its pages."""
        for start in range(self._start, self._stop, batch_size):
            part = self._array[start : min(start + batch_size, self._stop)]
            part = np.array(part) if isinstance(part, np.memmap) else part
            yield Chunk(part, file=self._file, first=start)


class ConstantSource:
    """One scalar that is fed with every batch, for inputs of rank 0."""

    cut = False

    def __init__(self, value: np.ndarray, place: str, file: str | None = None):
        self._value = value
        self._file = file
        self.place = place
        self.shape: Shape = ()
        self.dtype = value.dtype

    def count(self, batch_size: int) -> None:
        """As many as the other inputs have."""
        return

    def chunks(self, batch_size: int) -> Iterator[Chunk]:
        """The same value, endlessly."""
        while True:
            yield Chunk(self._value, file=self._file)


@dataclass
class StreamSource:
    """Samples stored one after the other in a stream that cannot be mapped (a member of a .npz, a gzip file).

    ``open_stream`` opens it at the first sample of the whole file.
    """

    place: str
    file: str
    stored: Shape
    dtype: np.dtype
    open_stream: Callable[[], AbstractContextManager[IO[bytes]]]
    window: SampleSlice = field(default_factory=SampleSlice)
    cut: bool = field(default=True, init=False)

    @property
    def shape(self) -> Shape:
        """The number of samples in the window, then the shape of a sample."""
        start, stop = self.window.bounds(self.stored[0])
        return (stop - start, *self.stored[1:])

    def count(self, batch_size: int) -> int:
        """Number of batches, a last one with fewer samples included."""
        return -(-self.shape[0] // batch_size)

    def chunks(self, batch_size: int) -> Iterator[Chunk]:
        """Read one batch after the other, holding no more than one.

        Raises
        ------
        DataError
            The stream ends early or is damaged.
        """
        start, stop = self.window.bounds(self.stored[0])
        sample_bytes = int(np.prod(self.stored[1:], dtype=np.int64)) * self.dtype.itemsize
        with read_errors(self.file), self.open_stream() as stream:
            _skip(stream, start * sample_bytes)
            for first in range(start, stop, batch_size):
                samples = min(batch_size, stop - first)
                raw = stream.read(samples * sample_bytes)
                if len(raw) != samples * sample_bytes:
                    present = first * sample_bytes + len(raw)
                    message = f"{self.stored[0] * sample_bytes} bytes of data were expected, {present} found"
                    raise DataError(Problem(message, file=self.file, hint="the file is truncated"))
                if first + samples == self.stored[0]:
                    _read_to_the_end(stream)
                array = np.frombuffer(raw, dtype=self.dtype).reshape(samples, *self.stored[1:])
                yield Chunk(array, file=self.place, first=first)


@contextmanager
def read_errors(file: str) -> Iterator[None]:
    """Turn any error of a damaged or unreadable file into one DataError that names the file."""
    try:
        yield
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        named = error.strerror if isinstance(error, OSError) else None
        reason = named or str(error) or type(error).__name__
        raise DataError(Problem(f"the file cannot be read: {reason}", file=file)) from error


def _read_to_the_end(stream: IO[bytes]) -> None:
    """A checksum is looked at when the stream ends."""
    for _ in range(MOST_AFTER >> 20):
        if not stream.read(1 << 20):
            return
    raise ValueError(f"it goes on for more than {MOST_AFTER >> 20} MiB after the values")


def _skip(stream: IO[bytes], size: int) -> None:
    while size > 0:
        part = stream.read(min(size, 1 << 20))
        if not part:
            raise EOFError("it ends before the first sample that was asked for")
        size -= len(part)

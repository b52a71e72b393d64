"""``.npy`` and ``.npz`` files, read without holding more than one batch."""

from __future__ import annotations

import io
import math
import struct
import sys
import tempfile
import tokenize
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy_format

from calibrant.archives import check_growth, open_archive
from calibrant.data.coerce import any_batch, dtype_problem, fit_shape, type_name, wanted_type
from calibrant.data.input_source import (
    ArraySource,
    ConstantSource,
    InputSource,
    SampleSlice,
    StreamSource,
    read_errors,
    slice_hint,
)
from calibrant.data.input_spec import InputSpec, Shape, show
from calibrant.data.one_run_a_row import has_rows, takes_one_row
from calibrant.errors import DataError, Problem, did_you_mean


def npy_column(path: Path, place: str, window: SampleSlice | None = None) -> InputSource:
    """The array of a ``.npy`` file, mapped into memory.

    Raises
    ------
    DataError
        The file does not exist, has another format, holds Python objects, or fewer bytes than its header promises.
    """
    file = str(path)
    with read_errors(file), path.open("rb") as stream:
        shape, _, dtype = _header(stream)
        start = stream.tell()
    if dtype.hasobject:
        raise DataError(Problem("the array holds Python objects, which are not read", file=file))
    expected = start + math.prod(shape) * dtype.itemsize
    size = path.stat().st_size
    if size < expected:
        message = f"{show(shape)} of {dtype.name} is {expected} bytes with the header, the file has {size}"
        raise DataError(Problem(message, file=file, hint="the file is truncated"))
    with read_errors(file):
        if shape == () or 0 in shape:
            return _small(np.load(path, allow_pickle=False, max_header_size=_HEADER_LIMIT), place, file)
        mapped = np.load(path, mmap_mode="r", allow_pickle=False, max_header_size=_HEADER_LIMIT)
        return ArraySource(mapped, place, file, window)


class NpzFile:
    """The arrays of a ``.npz`` file by name; at first only their headers are read.

    Raises
    ------
    DataError
        The file does not exist or is not a zip archive of arrays, each with a name of its own.
    """

    def __init__(self, path: Path):
        self._path = path
        self._file = str(path)
        self._headers: dict[str, tuple[Shape, bool, np.dtype]] = {}
        self._entries: dict[str, zipfile.ZipInfo] = {}
        with read_errors(self._file), open_archive(path) as archive:
            for entry in archive.infolist():
                if entry.filename.endswith(".npy"):
                    with archive.open(entry) as stream:
                        key = entry.filename.removesuffix(".npy")
                        if key in self._entries:
                            raise DataError(Problem(f"two arrays of the file are called {key!r}", self._file))
                        self._headers[key], self._entries[key] = _header(stream), entry
        if not self._headers:
            hint = "numpy.savez(FILE, NAME=array) writes one"
            raise DataError(Problem("the archive holds no arrays", self._file, allowed="entries NAME.npy", hint=hint))

    def arrays(self) -> list[tuple[str, Shape, np.dtype]]:
        """Name, shape and type of every array, in the order of the file."""
        return [(key, shape, dtype) for key, (shape, _, dtype) in self._headers.items()]

    def listing(self) -> str:
        """The arrays with type and shape, for messages."""
        return ", ".join(f"{key} {type_name(head[2])} {show(head[0])}" for key, head in self._headers.items())

    def key_of(self, spec: InputSpec, only_input: bool) -> str:
        """The array for an input: the one of its name, or, for a model with one input, the only one that fits.

        Raises
        ------
        DataError
            No array fits, or several do; lists what the file holds.
        """
        for name in spec.plain_names:
            for key in (name, f"{name}:0"):
                if key in self._headers:
                    return key
        path = f"input {spec.name!r}"
        selector = f"choose one as {self._file}:NAME"
        if not only_input:
            several = f"{self._file}:NAME;{self._file}:NAME"
            takes = f"the input takes {wanted_type(spec)} {show(spec.shape)}: save its array under this name"
            hint = did_you_mean(spec.name, self._headers) or (
                f"{takes}, or choose one for each input, in the order of the inputs: {several}"
            )
            raise DataError(Problem("no array of this name", self._file, path=path, allowed=self.listing(), hint=hint))
        exact = self._fitting(spec, lambda shape: fit_shape(shape, any_batch(spec.shape)) == shape)
        rows = self._fitting(spec, lambda shape: has_rows(shape, spec))
        if exact and takes_one_row(spec):
            exact += rows  # recordings beside their labels
        fitting = (
            exact or self._fitting(spec, lambda shape: fit_shape(shape, any_batch(spec.shape)) is not None) or rows
        )
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            message = f"several arrays fit: {', '.join(fitting)}"
            raise DataError(Problem(message, self._file, path=path, hint=selector))
        message = f"no array of this name and none that fits {wanted_type(spec)} {show(spec.shape)}"
        raise DataError(Problem(message, self._file, path=path, allowed=self.listing(), hint=selector))

    def column(self, key: str, window: SampleSlice | None = None) -> InputSource:
        """The array as samples along its first axis, unpacked batch by batch.

        Raises
        ------
        DataError
            There is no such array.
        """
        if key not in self._headers:
            hint = slice_hint(key) or did_you_mean(key, self._headers)
            raise DataError(Problem(f"no array {key!r}", self._file, allowed=self.listing(), hint=hint))
        shape, fortran, dtype = self._headers[key]
        place = f"{self._file}:{key}"
        if dtype.hasobject:
            raise DataError(Problem("the array holds Python objects, which are not read", file=place))
        self._check_size(key, place)
        if shape == () or 0 in shape:
            with read_errors(self._file), self._open(key) as stream:
                values = npy_format.read_array(stream, allow_pickle=False, max_header_size=_HEADER_LIMIT)
                return _small(values, place, self._file)
        if fortran and len(shape) > 1:
            return ArraySource(self._unpacked(key), place, place, window)
        return StreamSource(place, self._file, shape, dtype, lambda: self._values(key), window or SampleSlice())

    def _check_size(self, key: str, place: str) -> None:
        """Refuse an array that is larger than its entry, or would fill the memory; what is read in parts does not."""
        (shape, fortran, dtype), entry = self._headers[key], self._entries[key]
        expected = math.prod(shape) * dtype.itemsize
        if expected > entry.file_size:
            message = f"{show(shape)} of {dtype.name} is {expected:,} bytes, its entry has {entry.file_size:,}"
            raise DataError(Problem(message, file=place, hint="the file is truncated"))
        in_memory = expected if fortran or not shape else math.prod(shape[1:]) * dtype.itemsize
        with read_errors(place):
            check_growth(in_memory, entry.compress_size)

    def _fitting(self, spec: InputSpec, fits: Callable[[Shape], bool]) -> list[str]:
        """The arrays of a shape that fits, and of a type that the input takes."""
        return [
            key
            for key, (shape, _, dtype) in self._headers.items()
            if fits(shape) and dtype_problem(dtype, spec, None, None) is None
        ]

    @contextmanager
    def _open(self, key: str) -> Iterator[IO[bytes]]:
        with zipfile.ZipFile(self._path) as archive, archive.open(f"{key}.npy") as stream:
            yield stream

    @contextmanager
    def _values(self, key: str) -> Iterator[IO[bytes]]:
        with self._open(key) as stream:
            _header(stream)
            yield stream

    def _unpacked(self, key: str) -> np.ndarray:
        """A column-major array, whose samples are not contiguous: unpacked to an unnamed temporary file and mapped."""
        shape, _, dtype = self._headers[key]
        try:
            with tempfile.TemporaryFile() as target:
                for part in self._parts(key):
                    target.write(part)
                target.flush()
                return np.memmap(target, dtype=dtype, mode="r", shape=shape, order="F")
        except OSError as error:
            size = math.prod(shape) * dtype.itemsize
            message = f"{self._file}:{key} is column-major and cannot be unpacked here, {size:,} bytes"
            raise DataError(
                Problem(
                    f"{message}: {error.strerror or error}",
                    file=tempfile.tempdir,
                    hint="make room, name another folder in the environment variable TMPDIR, or save "
                    "np.ascontiguousarray(ARRAY), which is read in parts",
                )
            ) from error

    def _parts(self, key: str) -> Iterator[bytes]:
        """The values; what is wrong with the file is a DataError, so an OSError of the caller is one of its own."""
        with read_errors(self._file), self._values(key) as stream:
            while part := stream.read(1 << 20):
                yield part


def _small(array: np.ndarray, place: str, file: str) -> InputSource:
    if array.shape == ():
        return ConstantSource(array, place, file)
    raise DataError(Problem(f"the array {show(array.shape)} holds no values", file=place))


def _header(stream: IO[bytes]) -> tuple[Shape, bool, np.dtype]:
    """Shape, whether column-major, and type from the header of a .npy stream, which is left at the first value."""
    version = npy_format.read_magic(stream)
    if version not in _HEADERS:
        named = ".".join(map(str, version))
        why = "is for named fields, which no input has" if version == (3, 0) else "is not known; 1.0 and 2.0 are"
        raise ValueError(f"version {named} of the format {why}")
    length_format, read = _HEADERS[version]
    packed = stream.read(struct.calcsize(length_format))
    length = struct.unpack(length_format, packed)[0] if len(packed) == struct.calcsize(length_format) else 0
    if length > _HEADER_LIMIT:
        raise ValueError(f"its header is said to have {length:,} bytes")
    try:
        shape, fortran, dtype = read(io.BytesIO(packed + stream.read(length)), max_header_size=_HEADER_LIMIT)
    except (tokenize.TokenError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"its header is no description of an array: {error}") from None
    if any(isinstance(size, bool) or not 0 <= size <= sys.maxsize for size in shape):
        raise ValueError(f"its shape is {list(shape)}")
    return shape, fortran, dtype


_HEADERS = {
    (1, 0): ("<H", npy_format.read_array_header_1_0),
    (2, 0): ("<I", npy_format.read_array_header_2_0),
}
_HEADER_LIMIT = 1 << 16

"""Files in the idx format of MNIST and similar data sets, plain or gzip-compressed.

Two zero bytes, a type code, the rank, one big-endian uint32 per dimension, then the values, big-endian
(http://yann.lecun.com/exdb/mnist/).
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, cast

import numpy as np

from calibrant.data.input_source import SampleSlice, StreamSource, read_errors
from calibrant.data.input_spec import Shape, show
from calibrant.errors import DataError, Problem

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def is_idx_name(path: Path) -> bool:
    """Whether a file is read as idx: ``….idx``, ``…-idx3-ubyte`` and anything ``.gz``."""
    return path.suffix in (".gz", ".idx") or path.name.endswith(("-ubyte", "-byte")) and "idx" in path.name


def idx_column(path: Path, place: str, window: SampleSlice | None = None) -> StreamSource:
    """The samples of an idx file, as they are stored: [N, 28, 28] uint8 for the images of MNIST.

    Raises
    ------
    DataError
        The file does not exist or has another format.
    """
    file = str(path)
    with read_errors(file), _open(path) as stream:
        shape, dtype, start = _header(stream)
    if not shape or 0 in shape:
        raise DataError(Problem(f"the array {show(shape)} holds no samples", file=file))
    return StreamSource(place, file, shape, dtype, lambda: _values(path, start), window or SampleSlice())


def _header(stream: IO[bytes]) -> tuple[Shape, np.dtype, int]:
    head = stream.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _TYPES:
        raise ValueError("it is not in the idx format (two zero bytes, a type, a rank)")
    sizes = stream.read(4 * head[3])
    if len(sizes) < 4 * head[3]:
        raise ValueError("its header is truncated")
    return tuple(int(size) for size in np.frombuffer(sizes, ">u4")), np.dtype(_TYPES[head[2]]), 4 + 4 * head[3]


@contextmanager
def _values(path: Path, start: int) -> Iterator[IO[bytes]]:
    with _open(path) as stream:
        stream.read(start)
        yield stream


def _open(path: Path) -> AbstractContextManager[IO[bytes]]:
    # A GzipFile reads like a file, but does not declare it.
    return cast("IO[bytes]", gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")

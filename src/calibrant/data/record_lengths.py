"""The lengths of the records of a TFRecord file, checked against the file before TensorFlow reserves that much."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from pathlib import Path
from typing import IO, cast

from calibrant.archives import FREE_SIZE, RATIO
from calibrant.data.input_source import read_errors
from calibrant.errors import DataError, Problem

_BEFORE, _AFTER = 12, 4
"""Bytes around the content of a record: its length and a checksum of that; a checksum of the content."""
_PIECE = 1 << 20


def check_lengths(file: str, compression: str | None) -> None:
    """Refuse a record that is longer than the rest of its file, and a rest that is shorter than any record.

    Parameters
    ----------
    file : str
        The file.
    compression : str | None
        "GZIP", "ZLIB", or nothing.

    Raises
    ------
    DataError
        There is either, or a record that is far longer than what the file is packed to, or the file is damaged.
    """
    with Path(file).open("rb") as stream:
        if not (first := stream.read(2)):
            return  # no records, which is no damage
        hint = _hint(first, compression)
        stream.seek(0)
        if not compression:
            _check_plain(stream, file, hint)
            return
        most = max(FREE_SIZE, RATIO * os.fstat(stream.fileno()).st_size)
        try:
            with read_errors(file):
                _check_packed(_unpacked(stream, compression), file, most)
        except DataError as error:
            (problem,) = error.problems
            raise DataError(Problem(problem.message, file=file, hint=hint)) from None


def _check_plain(stream: IO[bytes], file: str, hint: str | None) -> None:
    size, begin = stream.seek(0, os.SEEK_END), 0
    while begin + _BEFORE <= size:
        stream.seek(begin)
        length = int.from_bytes(stream.read(8), "little")
        end = begin + _BEFORE + length + _AFTER
        if end > size:
            raise _too_long(begin, length, _left(size - begin - _BEFORE - _AFTER), file, hint)
        begin = end
    if begin < size:
        raise _cut_off(begin, size - begin, file, hint)


def _check_packed(stream: IO[bytes], file: str, most: int) -> None:
    begin = 0
    while len(head := stream.read(_BEFORE)) == _BEFORE:
        length = int.from_bytes(head[:8], "little")
        if length > most:
            raise _too_long(begin, length, f"at most {most:,} are read of a packed file of this size", file)
        left = length + _AFTER
        while left and (piece := stream.read(min(left, _PIECE))):
            left -= len(piece)
        if left:
            raise _too_long(begin, length, _left(length - left), file)
        begin += _BEFORE + length + _AFTER
    if head:
        raise _cut_off(begin, len(head), file)


def _left(number: int) -> str:
    """How many bytes of content are left where its checksum is to follow them."""
    return f"{max(0, number):,} are left"


def _too_long(begin: int, length: int, instead: str, file: str, hint: str | None = None) -> DataError:
    found = f"the record at byte {begin} says that it has {length:,} bytes; {instead}"
    return DataError(Problem(f"the records cannot be read: {found}", file=file, hint=hint))


def _cut_off(begin: int, number: int, file: str, hint: str | None = None) -> DataError:
    found = f"the record at byte {begin} is cut off after {number} of the {_BEFORE} bytes before its content"
    return DataError(Problem(f"the records cannot be read: {found}", file=file, hint=hint))


def _hint(first: bytes, compression: str | None) -> str | None:
    """The compression that a file begins with, where it is another than was named."""
    found = {b"\x1f\x8b": "GZIP", b"\x78\x01": "ZLIB", b"\x78\x9c": "ZLIB", b"\x78\xda": "ZLIB"}.get(first, "")
    return None if found == (compression or "") else f"compression={found!r}? so the file begins"


def _unpacked(stream: IO[bytes], compression: str) -> IO[bytes]:
    opened = gzip.GzipFile(fileobj=stream) if compression == "GZIP" else io.BufferedReader(_Inflated(stream))
    return cast("IO[bytes]", opened)


class _Inflated(io.RawIOBase):
    """What a zlib stream holds."""

    def __init__(self, stream: IO[bytes]):
        self._stream = stream
        self._inflate = zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._inflate.eof:
            packed = self._inflate.unconsumed_tail or self._stream.read(_PIECE)
            if not packed:
                raise EOFError("its compressed data are truncated")
            if found := self._inflate.decompress(packed, len(buffer)):
                buffer[: len(found)] = found
                return len(found)
        return 0

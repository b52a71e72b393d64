"""Zip archives of unknown origin: what they would unpack to is bounded before anything is unpacked."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

DIRECTORY_LIMIT = 8 * 2**20
"""Bytes of the list of entries; more than 80,000 entries of usual names."""

FREE_SIZE = 256 * 2**20
"""What may be unpacked to this many bytes may be packed as tightly as it can be."""

RATIO = 100
"""How many times larger than packed something may be that is larger than ``FREE_SIZE``."""


@contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """An archive whose list of entries is bounded, and whose entries do not overlap.

    Raises
    ------
    zipfile.BadZipFile
        It is no archive, has too many entries, or entries that share their bytes.
    """
    with path.open("rb") as file:
        with zipfile.ZipFile(_Bounded(file)) as archive:
            packed = sum(entry.compress_size for entry in archive.infolist())
        if packed > path.stat().st_size:
            raise zipfile.BadZipFile("its entries overlap, or are said to be larger than the file")
    with zipfile.ZipFile(path) as archive:
        yield archive


def check_unpacked_size(entries: Sequence[zipfile.ZipInfo]) -> None:
    """Refuse what would take far more memory than its file does. Reading an entry ends at its declared size.

    Raises
    ------
    zipfile.BadZipFile
        The entries are larger than ``FREE_SIZE``, and more than ``RATIO`` times larger than packed.
    """
    check_growth(sum(entry.file_size for entry in entries), sum(entry.compress_size for entry in entries))


def check_growth(unpacked: int, packed: int) -> None:
    """Likewise, with sizes in bytes."""
    if unpacked > FREE_SIZE and unpacked > RATIO * packed:
        raise zipfile.BadZipFile(
            f"{packed:,} bytes would become {unpacked:,}; above {FREE_SIZE >> 20} MiB, at most {RATIO} times as many "
            "are read"
        )


class _Bounded:
    """A file from which no more is read at once than the list of entries may have; ``ZipFile`` reads it so."""

    def __init__(self, file: IO[bytes]):
        self._file = file

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size if 0 <= size <= DIRECTORY_LIMIT else DIRECTORY_LIMIT + 1)
        if len(data) > DIRECTORY_LIMIT:
            raise zipfile.BadZipFile(f"its list of entries has more than {DIRECTORY_LIMIT >> 20} MiB")
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

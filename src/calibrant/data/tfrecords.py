"""TFRecord files, parsed by a function of the user's."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibrant.data.datasets import read_eagerly
from calibrant.errors import DataError, Problem
from calibrant.regular_file import is_file

_DECORATION = re.compile(r"^\{\{.*?\}\} ?| *\[Op:.*$")
"""The name of the internal node and operation around TensorFlow's own message."""


@dataclass(frozen=True)
class TFRecords:
    """Samples in TFRecord files, as a source of data.

    Parameters
    ----------
    paths : str | Path | Sequence[str | Path]
        One file or several, read in this order.
    parse : Callable[[object], object]
        Turns a scalar string tensor into one sample without batch dimension (a tensor, a tuple in the order of the
        inputs, or a dict by input name), as for ``tf.data.Dataset.map``. It usually calls
        ``tf.io.parse_single_example``.
    compression : str
        Compression of the files: "", "GZIP" or "ZLIB".
    """

    paths: str | Path | Sequence[str | Path]
    parse: Callable[[object], object]
    compression: str = ""

    @property
    def files(self) -> list[str]:
        """The paths as a list.

        Raises
        ------
        DataError
            Files do not exist; lists each of them.
        """
        given = [self.paths] if isinstance(self.paths, (str, Path)) else list(self.paths)
        missing = [Problem("no such file", file=str(path)) for path in given if not is_file(path)]
        if missing:
            raise DataError(*missing)
        return [str(path) for path in given]

    def batches(self, batch_size: int, whole_only: bool) -> Iterator[object]:
        """Batches of parsed samples; ``whole_only`` leaves out a last one with fewer samples.

        Raises
        ------
        DataError
            A file is damaged, the function cannot parse a record, or samples have different shapes.
        """
        import tensorflow as tf

        files = self.files
        if not self.compression:
            for file in files:
                _check_lengths(file)

        def dataset() -> Any:
            parsed = tf.data.TFRecordDataset(files, compression_type=self.compression).map(self.parse)
            return parsed.batch(batch_size, drop_remainder=whole_only)

        try:
            yield from read_eagerly(dataset)
        except tf.errors.OpError as error:
            reason = _DECORATION.sub("", str(error.message).splitlines()[0])
            raise DataError(Problem(f"the records cannot be read: {reason}", file=";".join(files))) from error


_BEFORE, _AFTER = 12, 4
"""Bytes around the content of a record: its length and a checksum of that; a checksum of the content."""


def _check_lengths(file: str) -> None:
    """Raise an error for a record that is longer than the rest of its file: TensorFlow would reserve that much."""
    with Path(file).open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        begin = 0
        while begin + _BEFORE <= size:
            stream.seek(begin)
            length = int.from_bytes(stream.read(8), "little")
            end = begin + _BEFORE + length + _AFTER
            if end > size:
                found = f"the record at byte {begin} says that it has {length:,} bytes; {size - begin:,} are left"
                raise DataError(Problem(f"the records cannot be read: {found}", file=file))
            begin = end

"""TFRecord files, parsed by a function of the user's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibrant.data.missing_path import is_pattern, no_such_path
from calibrant.data.option_types import ACCEPTED, Rows, check_types
from calibrant.data.record_lengths import check_lengths
from calibrant.errors import DataError, Problem, did_you_mean
from calibrant.regular_file import is_file, is_folder

COMPRESSIONS = ("GZIP", "ZLIB")
_ROWS: Rows = {
    "str | Path | Sequence[str | Path]": (
        lambda value: any(ACCEPTED[kind][0](value) for kind in ("str | Path", "Sequence[str | Path]")),
        "a path or a list of paths",
    ),
    "Callable[[object], object]": (callable, "a function that makes a sample of a record"),
    "str": ACCEPTED["str"],
}


@dataclass(frozen=True)
class TFRecords:
    """Samples in TFRecord files, as a source of data.

    Parameters
    ----------
    paths : str | Path | Sequence[str | Path]
        One file or several, read in this order.
    parse : Callable[[object], object]
        Turns a scalar string tensor into one sample without batch dimension (a tensor, a tuple in the order of the
        inputs, or a dict by input name), or into a sample and its label ``(x, y)``, as for ``tf.data.Dataset.map``. It
        usually calls ``tf.io.parse_single_example``.
    compression : str | None
        Compression of the files: "GZIP", "ZLIB", or none.

    Raises
    ------
    DataError
        A value of a type that is not allowed, or an unknown compression.
    """

    paths: str | Path | Sequence[str | Path]
    parse: Callable[[object], object]
    compression: str | None = ""

    def __post_init__(self) -> None:
        check_types(self, _ROWS)
        if self.compression and self.compression not in COMPRESSIONS:
            hint = did_you_mean(self.compression.upper(), COMPRESSIONS)
            allowed = ", ".join(map(repr, (*COMPRESSIONS, "")))
            raise DataError(Problem(f"compression is {self.compression!r}", allowed=allowed, hint=hint))

    @property
    def files(self) -> list[str]:
        """The paths as a list.

        Raises
        ------
        DataError
            Files do not exist, or are folders; lists each of them. Or no file is named.
        """
        given = [self.paths] if isinstance(self.paths, (str, os.PathLike)) else list(self.paths)
        if not given:
            raise DataError(Problem("TFRecords names no file"))
        missing = [_not_there(str(path)) for path in given if not is_file(path)]
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

        from calibrant.data.datasets import read_eagerly, reason_of

        files = self.files
        for file in files:
            check_lengths(file, self.compression)

        def dataset() -> Any:
            parsed = tf.data.TFRecordDataset(files, compression_type=self.compression).map(self.parse)
            return parsed.batch(batch_size, drop_remainder=whole_only)

        try:
            yield from read_eagerly(dataset)
        except tf.errors.OpError as error:
            raise DataError(Problem(f"the records cannot be read: {reason_of(error)}", file=";".join(files))) from error


def _not_there(text: str) -> Problem:
    """Why a path is no file, and what to give instead."""
    if is_folder(text):
        hint = f"name its files: sorted(pathlib.Path({text!r}).iterdir())"
        return Problem("is a folder", file=text, allowed="files", hint=hint)
    if is_pattern(text):
        hint = f"patterns are not expanded here: give sorted(glob.glob({text!r}))"
        return Problem("no such file", file=text, hint=hint)
    (problem,) = no_such_path(Path(text), text).problems
    return problem

"""Labels in text files: a number a line, or in .csv files a row of numbers."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from calibrant.data.input_source import SampleSlice
from calibrant.errors import DataError, Problem
from calibrant.evaluation.label_table import is_number, table_advice

_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_ALLOWED = "one number a line: 0, 1, 2, ... or 3.25; in .csv files also rows: 0,1,0"


def numbers_of_text(path: Path, window: SampleSlice | None) -> np.ndarray:
    """The numbers of a text file, [lines] or [lines, columns].

    Parameters
    ----------
    path : Path
        A ``.txt`` file, or a ``.csv`` file, which may have several columns.
    window : SampleSlice | None
        Which lines are taken.

    Raises
    ------
    DataError
        It cannot be read, holds something else, or has rows of different length.
    """
    file = str(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise DataError(Problem(f"the file cannot be read: {reason}", file=file)) from error
    while lines and not lines[-1].strip():
        lines.pop()
    rows: list[list[str]] = []
    for number, line in enumerate(lines, start=1):
        row = [word.strip() for word in line.split(",")] if path.suffix.lower() == ".csv" else [line.strip()]
        if not all(map(is_number, row)):
            looks, hint = table_advice(lines, path) or ("", None)
            message = f"{line.strip()[:60]!r} is no label{looks and f', it {looks}'}"
            raise DataError(Problem(message, file=file, line=number, allowed=_ALLOWED, hint=hint))
        if rows and len(row) != len(rows[0]):
            message = f"{line.strip()[:60]!r} has {len(row)} numbers, the first line has {len(rows[0])}"
            raise DataError(Problem(message, file=file, line=number, allowed="rows of one length"))
        rows.append(row)
    start, stop = (window or SampleSlice()).bounds(len(rows))
    if start == stop:
        raise DataError(Problem("there are no labels", file=file))
    return _array(rows[start:stop])


def _array(rows: list[list[str]]) -> np.ndarray:
    array = np.array([[float(word) for word in row] for row in rows])
    if array.shape[1] == 1:
        return array[:, 0]
    are_whole = all(_WHOLE.fullmatch(word) for row in rows for word in row) and np.abs(array).max() < 2**31
    return array.astype(np.int64) if are_whole else array

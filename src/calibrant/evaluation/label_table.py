"""Text files of labels as people have them: a header, file names beside the labels, names of classes.

They are not read, as they do not say which column is meant, but the error has the command that makes numbers of them.
"""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from calibrant.data.images import IMAGE_SUFFIXES

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_LONGEST = 40
_LABELS = ("label", "labels", "class", "classes", "class_id", "category", "target", "targets", "y")
_OTHERS = ("file", "filename", "file_name", "filepath", "path", "image", "image_id", "img", "id", "name", "")
MADE = "class_numbers.npy"
"""What the command writes."""
_FILE = "open(sys.argv[1], encoding='utf-8-sig')"


def table_advice(lines: Sequence[str], path: Path) -> tuple[str, str] | None:
    """What a file with a line that is no number is, and what to do.

    Parameters
    ----------
    lines : Sequence[str]
        Of the whole file.
    path : Path
        The file.

    Returns
    -------
    tuple[str, str] | None
        What it looks like, and a hint with a command; None where it is no table whose labels can be recognized.
    """
    table = _read(lines, is_csv=path.suffix.lower() == ".csv")
    if table is None:
        return None
    chosen = table.label_columns()
    if chosen is None:
        return None
    looks = "a header" if table.has_header else "a row of a table" if len(table.rows[0]) > 1 else "the name of a class"
    command = f'python -c "{table.code(chosen)}" {shlex.quote(str(path))}'
    steps = [f"the labels are {table.named(chosen)}"] if len(table.rows[0]) > 1 else []
    if not table.are_numbers(chosen[0]):
        steps.append("names are numbered from 0 in sorted order, as class folders are")
    if table.images is not None:
        steps.append(f"rows are sorted by column {table.images + 1}, as the images of a folder are read")
    return f"looks like {looks}", f"make {MADE}{' (' + '; '.join(steps) + ')' if steps else ''}: {command}"


@dataclass(frozen=True)
class _Table:
    rows: list[list[str]]
    source: str  # Python code of an iterable of rows

    @property
    def has_header(self) -> bool:
        first = [word.strip().lower() for word in self.rows[0]]
        if len(self.rows) == 1 or any(map(is_number, first)):
            return False
        return bool({*first} & {*_LABELS, *_OTHERS}) or any(map(self.are_numbers_below, range(len(first))))

    @property
    def data(self) -> list[list[str]]:
        return self.rows[1:] if self.has_header else self.rows

    @property
    def images(self) -> int | None:
        """The first column of names of images; None where there is none."""
        columns = zip(*self.data, strict=True)
        return next((at for at, words in enumerate(columns) if all(map(_is_image, words))), None)

    @property
    def is_even(self) -> bool:
        return len({len(row) for row in self.rows}) == 1

    @property
    def tells_columns(self) -> bool:
        """Whether some column is no text, so that spaces separate columns and not words."""
        return self.images is not None or any(map(self.are_numbers, range(len(self.rows[0]))))

    def are_numbers_below(self, column: int) -> bool:
        return all(is_number(row[column]) for row in self.rows[1:])

    def are_numbers(self, column: int) -> bool:
        return all(is_number(row[column]) for row in self.data)

    def label_columns(self) -> list[int] | None:
        """One column of labels, or several of numbers; None where none can be recognized."""
        every = range(len(self.rows[0]))
        numbers = [at for at in every if self.are_numbers(at)]
        are_mixed = any(is_number(row[at]) for row in self.data for at in every if at not in numbers)
        if are_mixed or (len(numbers) == len(every) and not self.has_header):
            return None
        titles = [word.strip().lower() if self.has_header else "-" for word in self.rows[0]]
        called = [at for at in every if titles[at] in _LABELS]
        chosen = called[:1] or [at for at in numbers if titles[at] not in _OTHERS]
        names = [at for at in every if at != self.images and at not in numbers]
        if not chosen and names:
            chosen = [min(names, key=lambda at: (len({row[at] for row in self.data}), -at))]
        return chosen or None

    def named(self, columns: Sequence[int]) -> str:
        words = [f"{at + 1}" + (f" {self.rows[0][at].strip()!r}" if self.has_header else "") for at in columns]
        return f"column{'s' if len(words) > 1 else ''} {', '.join(words)}"

    def code(self, columns: Sequence[int]) -> str:
        """Python code that makes the array, without characters that a shell would read in double quotes."""
        rows = f"[row for row in {self.source} if any(row)]{'[1:]' if self.has_header else ''}"
        if self.images is not None:
            rows = f"sorted({rows}, key=lambda row: row[{self.images}])"
        first = f"row[{columns[0]}]"
        if not self.are_numbers(columns[0]):
            made = f"np.unique([{first}.strip() for row in {rows}], return_inverse=True)[1]"
        elif len(columns) == 1:
            made = f"[float({first}) for row in {rows}]"
        else:
            made = f"[[float(row[at]) for at in {tuple(columns)}] for row in {rows}]"
        return f"import csv, sys, numpy as np; np.save('{MADE}', {made})"


def _read(lines: Sequence[str], is_csv: bool) -> _Table | None:
    """The table, with the separator that makes rows of one length; None where there are rows of several."""
    filled = [line for line in lines if line.strip()]
    try:
        tables = [
            _Table(list(csv.reader(filled, delimiter=separator)), f"csv.reader({_FILE}, delimiter={separator!r})")
            for separator in (",", ";")
        ]
    except csv.Error:
        return None
    tables = [table for at, table in enumerate(tables) if at == 0 or len(table.rows[0]) > 1]
    if not is_csv:
        words = _Table([line.split() for line in filled], f"map(str.split, {_FILE})")
        tables += [_Table([[line.strip()] for line in filled], f"([line.strip()] for line in {_FILE})")]
        tables += [words] if words.is_even and words.tells_columns else []
    return max((table for table in tables if table.is_even), key=lambda table: len(table.rows[0]), default=None)


def is_number(word: str) -> bool:
    """Whether a word is a number of ordinary length."""
    return len(word) <= _LONGEST and _NUMBER.fullmatch(word.strip()) is not None


def _is_image(word: str) -> bool:
    return word.strip().lower().endswith(IMAGE_SUFFIXES)

"""The right answers that belong to evaluation data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from calibrant.data.idx_files import idx_column, is_idx_name
from calibrant.data.input_source import InputSource, SampleSlice
from calibrant.data.numpy_files import NpzFile, npy_column
from calibrant.data.resolve_path import Selection
from calibrant.errors import DataError, Problem

_ALLOWED = "class numbers [N], one-hot rows [N, classes], or maps of class numbers [N, H, W]"
_READ_AT_ONCE = 1 << 16
_USUAL_NAMES = ("y", "labels", "label", "targets", "target")


def load_labels(path: str | Path) -> np.ndarray:
    """Class numbers of the samples, [N] int64.

    Parameters
    ----------
    path : ``.npy``, ``.npz`` (``FILE.npz:NAME``, or the only array in it that can be labels), idx (also ``.gz``), or
        ``.txt``/``.csv`` with one number a line. ``[start:stop]`` behind it chooses samples, as for data.
        Arrays hold class numbers [N] (or [N, 1]) or one-hot rows [N, classes], of any type with whole values.

    Raises
    ------
    DataError : no such file, another kind of file, or values that are no class numbers, with the place of the first.
    """
    selection = Selection.parse(path)
    if selection.path.suffix.lower() in (".txt", ".csv"):
        return _from_text(selection)
    column = _column(selection)
    if len(column.shape) not in (1, 2, 3, 4):
        raise DataError(Problem(f"labels of shape {list(column.shape)}", file=column.place, allowed=_ALLOWED))
    parts = [as_labels(piece.array, column.place, piece.first or 0) for piece in column.chunks(_READ_AT_ONCE)]
    if not parts:
        raise DataError(Problem("there are no labels", file=column.place))
    return np.concatenate(parts)


def as_labels(array: np.ndarray, place: str, first: int = 0) -> np.ndarray:
    """Class numbers [N] int64 from class numbers or one-hot rows of any type with whole values.

    Raises
    ------
    DataError : anything else; ``first`` is the index of the first sample, for the message.
    """
    array = np.asarray(array)
    if array.dtype.kind not in "biuf" or array.ndim not in (1, 2, 3, 4) or array.size == 0:
        found = f"labels of type {array.dtype} and shape {list(array.shape)}"
        raise DataError(Problem(found, file=place, allowed=_ALLOWED))
    if array.ndim == 2 and array.shape[1] > 1:
        wrong = np.any((array != 0) & (array != 1), axis=1) | (np.sum(array == 1, axis=1) != 1)
        _refuse(wrong, array, place, first, "is no one-hot row")
        return np.argmax(array, axis=1).astype(np.int64)
    if array.ndim > 2:
        array = array[..., 0] if array.ndim == 4 and array.shape[3] == 1 else array
        if array.ndim > 3 or not np.array_equal(array, np.floor(array)):
            raise DataError(Problem(f"maps of labels of shape {list(array.shape)}", file=place, allowed=_ALLOWED))
        return array.astype(np.int64)
    array = array.reshape(-1)
    with np.errstate(invalid="ignore"):
        wrong = ~((array >= 0) & (array < 2**31) & (array == np.floor(array)))
    _refuse(wrong, array, place, first, "is no class number (0, 1, 2, ...)")
    return array.astype(np.int64)


def _refuse(wrong: np.ndarray, array: np.ndarray, place: str, first: int, why: str) -> None:
    if wrong.any():
        index = int(np.flatnonzero(wrong)[0])
        found = array[index] if array.ndim == 1 else np.array2string(array[index], threshold=8)
        raise DataError(Problem(f"label {found} of sample {first + index} {why}", file=place, allowed=_ALLOWED))


def _column(selection: Selection) -> InputSource:
    path, word, window = selection.path, selection.word, selection.window
    if path.suffix == ".npz":
        archive = NpzFile(path)
        return archive.column(selection.member or _label_key(archive, word), window)
    if path.suffix == ".npy":
        return npy_column(path, word, window)
    if path.is_file() and is_idx_name(path):
        return idx_column(path, word, window)
    allowed = ".npy, .npz (FILE.npz:NAME), .txt or .csv with one number a line, idx (.gz)"
    raise DataError(Problem("this is no file of labels", file=word, allowed=allowed))


def _label_key(archive: NpzFile, word: str) -> str:
    flat = [key for key, shape, dtype in archive.arrays() if dtype.kind in "iu" and len(shape) == 1]
    either = [key for key, shape, dtype in archive.arrays() if dtype.kind in "biuf" and len(shape) in (1, 2)]
    for candidates in (flat, either):
        named = [key for key in candidates if key in _USUAL_NAMES]
        if len(named) == 1 or len(candidates) == 1:
            return (named if len(named) == 1 else candidates)[0]
        if candidates:
            break
    found = f"several arrays can be labels: {', '.join(flat or either)}" if either else "no array can be labels"
    raise DataError(Problem(found, file=word, allowed=archive.listing(), hint=f"choose one as {word}:NAME"))


def _from_text(selection: Selection) -> np.ndarray:
    file = str(selection.path)
    try:
        lines = selection.path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise DataError(Problem(f"the file cannot be read: {reason}", file=file)) from error
    while lines and not lines[-1].strip():
        lines.pop()
    labels = []
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            message = f"{text[:60]!r} is no class number"
            raise DataError(Problem(message, file=file, line=number, allowed="one number (0, 1, 2, ...) a line"))
        labels.append(int(text))
    start, stop = (selection.window or SampleSlice()).bounds(len(labels))
    if start == stop:
        raise DataError(Problem("there are no labels", file=file))
    return np.array(labels[start:stop], dtype=np.int64)

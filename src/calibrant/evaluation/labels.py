"""The right answers that belong to evaluation data: class numbers (integers) or targets (floats)."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from calibrant.data.idx_files import idx_column, is_idx_name
from calibrant.data.input_source import InputSource
from calibrant.data.numpy_files import NpzFile, npy_column
from calibrant.data.resolve_path import Selection
from calibrant.errors import DataError, Problem, did_you_mean
from calibrant.evaluation.label_count import MOST_CLASSES
from calibrant.evaluation.label_text import numbers_of_text
from calibrant.evaluation.one_hot_width import check_width
from calibrant.graph.graph import Graph
from calibrant.regular_file import is_file

_ALLOWED = "class numbers [N], one-hot rows [N, classes], maps of class numbers [N, H, W], or numbers to be predicted"
_READ_AT_ONCE = 1 << 16
_USUAL_NAMES = ("y", "labels", "label", "targets", "target")


def labels_of(
    labels: Any, graph: Graph, place: int, offset: int = 0, ignore: Collection[int] = ()
) -> np.ndarray | None:
    """The labels of one output of a model.

    Parameters
    ----------
    labels : Any
        Path (see :func:`load_labels`), array (see :func:`as_labels`), or None.
    graph : Graph
        The model.
    place : int
        Position of the output.
    offset : int
        Added to class numbers, those in ``ignore`` excepted.
    ignore : Collection[int]
        Labels that do not count.

    Raises
    ------
    DataError
        They are no labels, or one-hot rows of another width than the output.
    """
    if labels is None:
        return None
    numbers, file = _numbers(labels)
    found = as_labels(numbers, file)
    if numbers.ndim in (2, 4) and numbers.shape[-1] > 1 and found.dtype.kind in "iu":
        check_width(numbers.shape[-1], graph, place, file, offset, ignore)
    return shifted(found, offset, ignore)


def _numbers(labels: Any) -> tuple[np.ndarray, str]:
    """What a path or array of labels holds, and what messages call it."""
    if isinstance(labels, (str, os.PathLike)):
        return _numbers_of_file(labels)
    try:
        return np.asanyarray(labels), "labels"
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(Problem(f"the labels are no array: {error}", file="labels", allowed=_ALLOWED)) from None


def shifted(labels: np.ndarray, offset: int, ignore: Collection[int]) -> np.ndarray:
    """Class numbers with an offset added to all but those to be ignored.

    Raises
    ------
    DataError
        No model can have as many classes as the offset.
    """
    if abs(offset) > MOST_CLASSES:
        problem = Problem(f"an offset of {offset} for the labels", allowed=f"{-MOST_CLASSES}...{MOST_CLASSES}")
        raise DataError(problem)
    if not offset or labels.dtype.kind == "f":
        return labels
    wide = labels.astype(np.int64)
    return np.where(np.isin(wide, list(ignore)), wide, wide + offset)


def labels_by_output(
    labels: Any, graph: Graph, output: str | None, offset: int = 0, ignore: Collection[int] = ()
) -> dict[int, np.ndarray]:
    """Position of an output → its labels.

    Parameters
    ----------
    labels : Any
        As for :func:`labels_of`, of one output; or a mapping with labels of several, by their names.
    graph : Graph
        The model.
    output : str | None
        The output that the labels belong to; its only one by default.
    offset : int
        As for :func:`labels_of`.
    ignore : Collection[int]
        As for :func:`labels_of`.

    Raises
    ------
    DataError
        Not one of several outputs is named, or there is none of that name.
    """
    if isinstance(labels, Mapping):
        places = {output_place(graph, str(name)): each for name, each in labels.items()}
    else:
        places = {} if labels is None else {labelled_output(graph, output): labels}
    read = {place: labels_of(each, graph, place, offset, ignore) for place, each in places.items()}
    return {place: each for place, each in read.items() if each is not None}


def labelled_output(graph: Graph, output: str | None) -> int:
    """Position of the output that labels belong to.

    Raises
    ------
    DataError
        Not one of several outputs is named, or there is none of that name.
    """
    if output is None and len(graph.outputs) > 1:
        problem = f"the labels belong to one output, the model has {len(graph.outputs)}"
        raise DataError(
            Problem(problem, allowed=", ".join(graph.output_keys), hint="name it with --output NAME (output=)")
        )
    return 0 if output is None else output_place(graph, output)


def output_place(graph: Graph, name: str) -> int:
    """Position of an output, by its key or its tensor.

    Raises
    ------
    DataError
        There is no such output.
    """
    for names in (graph.output_keys, graph.outputs, [tensor.removesuffix(":0") for tensor in graph.outputs]):
        if name in names:
            return list(names).index(name)
    keys: Sequence[str] = graph.output_keys
    raise DataError(Problem(f"there is no output {name!r}", allowed=", ".join(keys), hint=did_you_mean(name, keys)))


def load_labels(path: str | os.PathLike[str]) -> np.ndarray:
    """Labels of the samples, as of :func:`as_labels`.

    Parameters
    ----------
    path : str | os.PathLike[str]
        ``.npy``, ``.npz`` (``FILE.npz:NAME``, or the only array in it that can be labels), idx (also ``.gz``), or
        ``.txt``/``.csv`` with one number a line, ``.csv`` also with a row of numbers. ``[start:stop]`` after it chooses
        samples, as for data.

    Raises
    ------
    DataError
        No such file, another kind of file, or values that are no labels, with the place of the first.
    """
    return as_labels(*_numbers_of_file(path))


def _numbers_of_file(path: str | os.PathLike[str]) -> tuple[np.ndarray, str]:
    selection = Selection.parse(os.fspath(path))
    if selection.path.suffix.lower() in (".txt", ".csv"):
        return numbers_of_text(selection.path, selection.window), str(selection.path)
    column = _column(selection)
    if len(column.shape) not in (1, 2, 3, 4):
        raise DataError(Problem(f"labels of shape {list(column.shape)}", file=column.place, allowed=_ALLOWED))
    parts = [piece.array for piece in column.chunks(_READ_AT_ONCE)]
    if not parts:
        raise DataError(Problem("there are no labels", file=column.place))
    return np.concatenate(parts), column.place


def as_labels(array: np.ndarray, place: str) -> np.ndarray:
    """Class numbers as integers, or targets as float64, from an array of numbers.

    Whole numbers are class numbers: [N] or [N, 1] become [N] int64, maps [N, H, W] or [N, H, W, 1] keep their integer
    type. Rows and maps of a 1 among 0 (one-hot) become the class numbers that they mean. All others are targets.

    Raises
    ------
    DataError
        Another type or number of dimensions, NaN, infinity, or 0 and 1 that are no one-hot rows.
    """
    if np.ma.is_masked(array):
        hint = "say which labels do not count: array.filled(255), ignore_labels=[255]"
        raise DataError(Problem("labels are masked", file=place, hint=hint))
    array = np.asarray(array)
    if array.dtype.kind not in "biuf" or array.ndim not in (1, 2, 3, 4) or array.size == 0:
        found = f"labels of type {array.dtype} and shape {list(array.shape)}"
        raise DataError(Problem(found, file=place, allowed=_ALLOWED))
    if array.ndim > 1 and array.shape[-1] == 1:
        array = array[..., 0]
    with np.errstate(invalid="ignore"):
        _refuse(~np.isfinite(array).reshape(len(array), -1).all(axis=1), array, place, "is no number")
    if array.ndim in (2, 4):
        return _one_hot_or_targets(array, place)
    if array.dtype.kind == "f" and not np.array_equal(array, np.floor(array)):
        return array.astype(np.float64)
    if np.abs(array.astype(np.float64)).max() >= 2**31:
        _refuse((np.abs(array) >= 2**31).reshape(len(array), -1).any(axis=1), array, place, "is no class number")
    return array if array.ndim == 3 and array.dtype.kind in "iu" else array.astype(np.int64)


def _one_hot_or_targets(array: np.ndarray, place: str) -> np.ndarray:
    is_zero_or_one = (array == 0) | (array == 1)
    if array.dtype.kind == "f" and not is_zero_or_one.all():
        return array.astype(np.float64)
    wrong = ~is_zero_or_one.all(axis=-1) | ((array == 1).sum(axis=-1) != 1)
    _refuse(wrong.reshape(len(array), -1).any(axis=1), array, place, "is no one-hot row")
    return np.argmax(array, axis=-1).astype(np.int64)


def _refuse(wrong: np.ndarray, array: np.ndarray, place: str, why: str) -> None:
    if wrong.any():
        index = int(np.flatnonzero(wrong)[0])
        found = array[index] if array.ndim == 1 else np.array2string(array[index], threshold=8)
        raise DataError(Problem(f"label {found} of sample {index} {why}", file=place, allowed=_ALLOWED))


def _column(selection: Selection) -> InputSource:
    path, word, window = selection.path, selection.word, selection.window
    if path.suffix == ".npz":
        archive = NpzFile(path)
        return archive.column(selection.member or _label_key(archive, word), window)
    if path.suffix == ".npy":
        return npy_column(path, word, window)
    if is_file(path) and is_idx_name(path):
        return idx_column(path, word, window)
    allowed = ".npy, .npz (FILE.npz:NAME), .txt with a number a line, .csv, idx (.gz)"
    raise DataError(Problem("this is no file of labels", file=word, allowed=allowed))


def _label_key(archive: NpzFile, word: str) -> str:
    usual = [key for key, _, dtype in archive.arrays() if key in _USUAL_NAMES and dtype.kind in "biuf"]
    if len(usual) == 1:
        return usual[0]
    flat = [key for key, shape, dtype in archive.arrays() if dtype.kind in "iu" and len(shape) == 1]
    either = [key for key, shape, dtype in archive.arrays() if dtype.kind in "biuf" and len(shape) in (1, 2)]
    for candidates in (flat, either):
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            break
    found = f"several arrays can be labels: {', '.join(flat or either)}" if either else "no array can be labels"
    raise DataError(Problem(found, file=word, allowed=archive.listing(), hint=f"choose one as {word}:NAME"))

"""The right answers that belong to evaluation data, from files or arrays."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from calibrant.data.idx_files import idx_column, is_idx_name
from calibrant.data.input_source import InputSource
from calibrant.data.numpy_files import NpzFile, npy_column
from calibrant.data.resolve_path import Selection
from calibrant.errors import DataError, Problem, did_you_mean
from calibrant.evaluation.given_labels import GivenLabels
from calibrant.evaluation.label_folder import class_of_each_image
from calibrant.evaluation.label_meaning import ALLOWED, class_numbers, refuse
from calibrant.evaluation.label_table import MADE
from calibrant.evaluation.label_text import numbers_of_text
from calibrant.evaluation.predictions import long_axes
from calibrant.graph.graph import Graph
from calibrant.regular_file import is_file

_READ_AT_ONCE = 1 << 16
_USUAL_NAMES = ("y", "labels", "label", "targets", "target")


def labels_of(labels: Any) -> GivenLabels:
    """The labels of one output of a model: read already, a path (:func:`load_labels`) or an array (:func:`as_labels`).

    Raises
    ------
    DataError
        They are no labels.
    """
    if isinstance(labels, GivenLabels):
        return labels
    numbers, file = _numbers(labels)
    return GivenLabels(as_labels(numbers, file), file)


def _numbers(labels: Any) -> tuple[np.ndarray, str]:
    """What a path or array of labels holds, and what messages call it."""
    if isinstance(labels, (str, os.PathLike)):
        return _numbers_of_file(labels)
    try:
        return np.asanyarray(labels), "labels"
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(Problem(f"the labels are no array: {error}", file="labels", allowed=ALLOWED)) from None


def labels_by_output(labels: Any, graph: Graph, output: str | None) -> dict[int, GivenLabels]:
    """Position of an output → its labels.

    Parameters
    ----------
    labels : Any
        As for :func:`labels_of`, of one output; or a mapping with labels of several, by their names.
    graph : Graph
        The model.
    output : str | None
        The output that the labels belong to; its only one by default.

    Raises
    ------
    DataError
        Not one of several outputs is named, or there is none of that name.
    """
    if isinstance(labels, Mapping):
        places = {output_place(graph, str(name)): each for name, each in labels.items()}
    else:
        places = {} if labels is None else {labelled_output(graph, output): labels}
    return {place: labels_of(each) for place, each in places.items() if each is not None}


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
        samples, as for data. Or a folder of images in a sub-folder for each class
        (:func:`calibrant.evaluation.label_folder.class_of_each_image`).

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
    if selection.path.is_dir():
        return class_of_each_image(selection), str(selection.path)
    column = _column(selection)
    if len(column.shape) not in range(1, 6):
        raise DataError(Problem(f"labels of shape {list(column.shape)}", file=column.place, allowed=ALLOWED))
    parts = [piece.array for piece in column.chunks(_READ_AT_ONCE)]
    if not parts:
        raise DataError(Problem("there are no labels", file=column.place))
    return np.concatenate(parts), column.place


def as_labels(array: np.ndarray, place: str) -> np.ndarray:
    """Numbers that can be labels; :class:`calibrant.evaluation.label_meaning.LabelMeaning` tells what they mean.

    A last axis of size 1 is left out. Whole numbers [N] become int64, those of [N, H, W] integers.

    Raises
    ------
    DataError
        Another type or number of dimensions, NaN or infinity, or a whole number that is no class.
    """
    if np.ma.is_masked(array):
        hint = "say which labels do not count: array.filled(255), ignore_labels=[255]"
        raise DataError(Problem("labels are masked", file=place, hint=hint))
    array = np.asarray(array)
    if array.dtype.kind not in "biuf" or array.ndim not in range(1, 6) or array.size == 0:
        found = f"labels of type {array.dtype} and shape {list(array.shape)}"
        raise DataError(Problem(found, file=place, allowed=ALLOWED, hint=_names_hint(array, place)))
    if array.ndim > 1 and array.shape[-1] == 1:
        array = array[..., 0] if long_axes(array) else array.reshape(-1)
    with np.errstate(invalid="ignore"):
        refuse(~np.isfinite(array), array, place, "is no number")
    if array.dtype.kind == "f" and (array.ndim not in (1, 3) or not np.array_equal(array, np.floor(array))):
        return array
    return class_numbers(array, place) if array.ndim in (1, 3) else array


def _names_hint(array: np.ndarray, place: str) -> str | None:
    """How names of classes become numbers."""
    if array.dtype.kind not in "US" or array.ndim != 1:
        return None
    hint = "number the names from 0 in sorted order, as class folders are: "
    if not place.endswith(".npy"):
        return f"{hint}numpy.unique(labels, return_inverse=True)[1]"
    made = f"np.save('{MADE}', np.unique(np.load(sys.argv[1]), return_inverse=True)[1])"
    return f'{hint}python -c "import sys, numpy as np; {made}" {shlex.quote(place)}'


def _column(selection: Selection) -> InputSource:
    path, word, window = selection.path, selection.word, selection.window
    if path.suffix == ".npz":
        archive = NpzFile(path)
        return archive.column(selection.member or _label_key(archive, word), window)
    if path.suffix == ".npy":
        return npy_column(path, word, window)
    if is_file(path) and is_idx_name(path):
        return idx_column(path, word, window)
    allowed = (
        ".npy, .npz (FILE.npz:NAME), .txt with a number a line, .csv, idx (.gz), a folder of images in class folders"
    )
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

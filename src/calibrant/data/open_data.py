"""Opens any source of data as batches for the inputs of a model, with one batch in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from calibrant.data.batches import Batches, too_few
from calibrant.data.coerce import fit_shape, refuse_masked
from calibrant.data.images import ImageOptions, Order, image_options_of
from calibrant.data.input_source import ArraySource, Chunk, ConstantSource, InputSource
from calibrant.data.input_spec import InputSpec, Shape, match_names, raw_dtypes, with_shapes
from calibrant.data.iterables import ItemForm, ItemSource
from calibrant.data.one_run_a_row import has_rows, takes_one_sample
from calibrant.data.option_types import check_number
from calibrant.data.resolve_path import columns_in_order, columns_of
from calibrant.data.tfrecords import TFRecords
from calibrant.data.zip_inputs import (
    DEFAULT_BATCH_SIZE,
    fixed_batch,
    normalised,
    open_columns,
    refuse_image_only,
)
from calibrant.errors import DataError, Problem
from calibrant.regular_file import is_folder

__all__ = ["DEFAULT_BATCH_SIZE", "Batches", "ImageOptions", "InputSpec", "TFRecords", "open_data"]


def open_data(
    source: object,
    inputs: Sequence[InputSpec],
    *,
    batch_size: int | None = None,
    batch_num: int | None = None,
    sample_limit: int | None = None,
    shapes: Mapping[str, Sequence[int | None]] | None = None,
    dtypes: Mapping[str, object] | None = None,
    image_options: ImageOptions | Mapping[str, object] | None = None,
    image_size: Sequence[int] | None = None,
    spread: bool = False,
    shuffle: int | None = None,
    with_labels: bool = False,
) -> Batches:
    """Batches for a model's inputs from any kind of source.

    Parameters
    ----------
    source : object
        A path (folder of .bin files, one batch each; folder of images; .npy; .npz; idx, also .gz), with several inputs
        a folder with one entry per input, ``A;B`` or a list of paths in the order of the inputs; an array or a dict of
        arrays or paths by input name, samples along the first axis; :class:`TFRecords`; a tf.data.Dataset or any other
        iterable of batches (dicts, tuples, arrays), or a function that returns one.
    inputs : Sequence[InputSpec]
        The inputs of the model, at least one.
    batch_size : int | None
        Samples in a batch, above 0, for sources without batches of their own; None: the batch that the model fixes,
        else 16. A number other than the one that the model fixes is an error.
    batch_num : int | None
        Number of batches to read, above 0, a last one with fewer samples included; None: all. If the model fixes the
        batch, a last batch with fewer samples is left out and :meth:`Batches.describe` says so.
    sample_limit : int | None
        Without ``batch_num``, no more batches are read than hold so many samples.
    shapes : Mapping[str, Sequence[int | None]] | None
        By input name, dimensions that the model leaves open. Raw .bin files need all but the first.
    dtypes : Mapping[str, object] | None
        By input name, the type of the values in raw .bin files; None: the type of the input.
    image_options : ImageOptions | Mapping[str, object] | None
        How images become arrays, as :class:`ImageOptions` or a dict of its parameters.
    image_size : Sequence[int] | None
        Height and width in pixels, instead of those in ``image_options``.
    spread : bool
        Take images from the sub-folders of a folder in turns, so that the first ones come from all of them.
    shuffle : int | None
        Seed, 0 or above, of a random order of the images of a folder; None: no random order.
    with_labels : bool
        Keep the y of ``(x, y)`` pairs for :meth:`Batches.take_labels`.

    Returns
    -------
    Batches
        Arrays by input name; can be iterated again unless the source cannot. Where data have one axis more than the
        inputs, each row is one batch, and one sample.

    Raises
    ------
    DataError
        Every problem that shows without reading the values; the others are raised while iterating.
    """
    check_number("batch_size", batch_size)
    check_number("batch_num", batch_num)
    check_number("shuffle", shuffle, 0)
    inputs = with_shapes(inputs, shapes)
    raw = raw_dtypes(inputs, dtypes)
    options = replace(image_options_of(image_options, image_size), order=Order(spread, shuffle))
    if shuffle is not None and not (isinstance(source, (str, Path)) and is_folder(source)):
        raise DataError(Problem("shuffle is for a folder of images", hint="shuffle the array or list itself"))
    if isinstance(source, TFRecords):
        return _open_records(source, inputs, batch_size, batch_num, sample_limit, with_labels)
    columns = _columns(source, inputs, raw, options)
    if columns is None:
        return _open_items(source, inputs, batch_size, batch_num, sample_limit, options, with_labels)
    return open_columns(columns, inputs, batch_size, batch_num, sample_limit, options)


def _columns(
    source: object, inputs: Sequence[InputSpec], raw: dict[str, np.dtype], options: ImageOptions
) -> dict[str, InputSource] | None:
    """One source per input; None if the source holds whole batches."""
    if source is None:
        raise DataError(Problem("no data are given", hint="data=, or --data on the command line"))
    if isinstance(source, (bytes, bytearray)):
        raise DataError(Problem(f"the data are {source!r:.80} ({type(source).__name__})", hint="give str or Path"))
    _refuse_arrays_with_labels(source, inputs)
    if isinstance(source, memoryview):
        source = np.asarray(source)
    if isinstance(source, (str, Path)):
        return columns_of(source, inputs, raw, options)
    if isinstance(source, (list, tuple)) and source and all(isinstance(part, (str, Path)) for part in source):
        return columns_in_order(source, inputs, raw, options)
    if isinstance(source, Mapping):
        return _columns_by_name(source, inputs, raw, options)
    if isinstance(source, (list, tuple)) and 1 < len(source) == len(inputs) and all(map(_is_array, source)):
        return {spec.name: _in_memory(array, spec) for spec, array in zip(inputs, source, strict=True)}
    if _is_array(source):
        if len(inputs) > 1:
            names = ", ".join(spec.name for spec in inputs)
            raise DataError(Problem(f"one array for {len(inputs)} inputs", allowed=f"a dict with {names}"))
        return {inputs[0].name: _in_memory(source, inputs[0])}
    return None


def _refuse_arrays_with_labels(source: object, inputs: Sequence[InputSpec]) -> None:
    """A tuple (x, y) of whole arrays would be taken for two batches."""
    is_pair = isinstance(source, tuple) and len(source) == 2 and len(inputs) == 1 and all(map(_is_array, source))
    if not is_pair or inputs[0].shape is None:
        return
    first, second = (tuple(part.shape) for part in cast("tuple[np.ndarray, np.ndarray]", source))
    is_beside_rows = has_rows(first, inputs[0]) and not has_rows(second, inputs[0])
    are_labels = is_beside_rows or not _fits(second, inputs[0])
    if first[:1] == second[:1] and _fits(first, inputs[0]) and are_labels:
        hint = "give x alone; calibrant.evaluate and tune take y as labels="
        raise DataError(Problem("the tuple holds an array and its labels (x, y)", hint=hint))


def _fits(shape: Shape, spec: InputSpec) -> bool:
    return fit_shape(shape, spec.shape) is not None or has_rows(shape, spec)


def _columns_by_name(
    source: Mapping[str, object], inputs: Sequence[InputSpec], raw: dict[str, np.dtype], options: ImageOptions
) -> dict[str, InputSource]:
    keys = match_names(list(source), inputs, "data")
    problems: list[Problem] = []
    columns: dict[str, InputSource] = {}
    for spec in inputs:
        if spec.name not in keys:
            problems.append(Problem("no data are given", path=f"input {spec.name!r}"))
            continue
        value = source[keys[spec.name]]
        try:
            columns[spec.name] = (
                columns_of(value, [spec], raw, options)[spec.name]
                if isinstance(value, (str, Path))
                else _in_memory(value, spec)
            )
        except DataError as error:
            problems.extend(error.problems)
    if problems:
        raise DataError(*problems)
    return columns


def _in_memory(value: object, spec: InputSpec) -> InputSource:
    place = f"the array for {spec.name!r}"
    refuse_masked(value, spec.name)
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise DataError(Problem(f"what is given is no array: {error}", path=f"input {spec.name!r}")) from error
    if array.ndim == 0:
        return ConstantSource(array, place)
    if array.size == 0:
        raise DataError(Problem(f"the array {list(array.shape)} holds no values", path=f"input {spec.name!r}"))
    return ArraySource(array, place)


def _open_items(
    source: Any,
    inputs: Sequence[InputSpec],
    batch_size: int | None,
    batch_num: int | None,
    sample_limit: int | None,
    options: ImageOptions,
    with_labels: bool,
) -> Batches:
    refuse_image_only(options)
    items = ItemSource(source, inputs)
    items.labels = [] if with_labels else None
    count = items.count()
    limit = sample_limit if batch_num is None else None
    if items.endless and batch_num is None and limit is None:
        raise DataError(Problem(f"{items.place} has no end", hint=items.end_it))
    note, available = "", None
    form = items.form()
    if form is ItemForm.SAMPLE:
        fixed = fixed_batch(inputs, batch_size)
        size = fixed or batch_size or DEFAULT_BATCH_SIZE
        note, available = f", {size} in a batch", count

        def chunks() -> Iterator[dict[str, Chunk]]:
            return items.batches(size, whole_only=fixed is not None)

        count = None if count is None else count // size if fixed else -(-count // size)
    elif form is ItemForm.BATCH:
        chunks = items.rows
    else:
        chunks, note = items.runs, ", one run a row"
        available = count = count if form is ItemForm.RUN else None
    if batch_num is not None and count is not None and count < batch_num:
        raise too_few(batch_num, f"{count}", items.place)

    def rows() -> Iterator[dict[str, Chunk]]:
        for row in chunks():
            yield {
                spec.name: normalised(row[spec.name], spec, options) if spec.dtype.kind == "f" else row[spec.name]
                for spec in inputs
            }

    return Batches(
        rows,
        inputs,
        place=items.place,
        count=count if limit is None else None,
        batch_num=batch_num,
        restartable=items.restartable,
        sample_limit=limit,
        available=available,
        note=note,
        labels=items.labels,
        one_a_run=form in (ItemForm.RUN, ItemForm.ROWS),
    )


def _open_records(
    source: TFRecords,
    inputs: Sequence[InputSpec],
    batch_size: int | None,
    batch_num: int | None,
    sample_limit: int | None,
    with_labels: bool,
) -> Batches:
    is_one = takes_one_sample(inputs)
    fixed = None if is_one else fixed_batch(inputs, batch_size)
    size = 1 if is_one else fixed or batch_size or DEFAULT_BATCH_SIZE
    place = ";".join(source.files)
    items = ItemSource(lambda: source.batches(size, whole_only=fixed is not None), inputs)
    items.place = place
    items.labels = [] if with_labels else None
    limit = sample_limit if batch_num is None else None
    note = ", one run a row" if is_one else f", {size} in a batch"
    return Batches(
        items.runs if is_one else items.rows,
        inputs,
        place=place,
        batch_num=batch_num,
        sample_limit=limit,
        note=note,
        labels=items.labels,
        one_a_run=is_one,
    )


def _is_array(value: object) -> bool:
    return hasattr(value, "__array__") and hasattr(value, "shape")

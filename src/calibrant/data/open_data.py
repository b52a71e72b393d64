"""Open any source of data as batches for the inputs of a model, one batch in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from calibrant.data.batches import Batches, too_few
from calibrant.data.images import ImageOptions
from calibrant.data.input_source import ArraySource, Chunk, ConstantSource, InputSource
from calibrant.data.input_spec import InputSpec, match_names, raw_dtypes, with_shapes
from calibrant.data.iterables import ItemSource
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

__all__ = ["DEFAULT_BATCH_SIZE", "Batches", "ImageOptions", "InputSpec", "TFRecords", "open_data"]


def open_data(
    source: object,
    inputs: Sequence[InputSpec],
    *,
    batch_size: int | None = None,
    batch_num: int | None = None,
    shapes: Mapping[str, Sequence[int | None]] | None = None,
    dtypes: Mapping[str, object] | None = None,
    image_options: ImageOptions | None = None,
) -> Batches:
    """Batches for a model's inputs from whatever holds the data.

    Parameters
    ----------
    source : a path (folder of .bin files, one batch each; folder of PNG or JPEG files; .npy; .npz; idx, also .gz),
        with several inputs a folder with one entry per input, ``A;B`` or a list of paths in the order of the inputs;
        an array or a dict of arrays or paths by input name, samples along the first axis; :class:`TFRecords`; a
        tf.data.Dataset or any other iterable of batches (dicts, tuples, arrays), or a function that returns one.
    inputs : what the model asks for, at least one.
    batch_size : samples in a batch where the source has none of its own; None: the model's own batch where it is
        fixed, else 16. Another one than the model's fixed one is an error.
    batch_num : read exactly so many batches, a last one with fewer samples counts; None: all. A model with a fixed
        batch cannot take a last batch with fewer samples; it is left out and :meth:`Batches.describe` says so.
    shapes : dimensions by input name that the model leaves open (raw .bin files need them all but the first).
    dtypes : what raw .bin files hold, by input name; None: the type of the input.
    image_options : see :class:`ImageOptions`.

    Raises
    ------
    DataError : every problem that can be seen without reading the values; the others come while iterating.
    """
    _check_number("batch_size", batch_size)
    _check_number("batch_num", batch_num)
    inputs = with_shapes(inputs, shapes)
    raw = raw_dtypes(inputs, dtypes)
    options = image_options or ImageOptions()
    if isinstance(source, TFRecords):
        return _open_records(source, inputs, batch_size, batch_num)
    columns = _columns(source, inputs, raw, options)
    if columns is None:
        return _open_items(source, inputs, batch_num, options)
    return open_columns(columns, inputs, batch_size, batch_num, options)


def _columns(
    source: object, inputs: Sequence[InputSpec], raw: dict[str, np.dtype], options: ImageOptions
) -> dict[str, InputSource] | None:
    """One column per input; None where the source holds whole batches."""
    if isinstance(source, (str, Path)):
        return columns_of(source, inputs, raw, options)
    if isinstance(source, (list, tuple)) and source and all(isinstance(part, (str, Path)) for part in source):
        return columns_in_order(source, inputs, raw, options)
    if isinstance(source, Mapping):
        return _columns_by_name(source, inputs, raw, options)
    if hasattr(source, "__array__") and hasattr(source, "shape"):
        if len(inputs) > 1:
            names = ", ".join(spec.name for spec in inputs)
            raise DataError(Problem(f"one array for {len(inputs)} inputs", allowed=f"a dict with {names}"))
        return {inputs[0].name: _in_memory(source, inputs[0])}
    return None


def _columns_by_name(
    source: Mapping, inputs: Sequence[InputSpec], raw: dict[str, np.dtype], options: ImageOptions
) -> dict[str, InputSource]:
    keys = match_names(list(source), inputs, "data")
    problems, columns = [], {}
    for spec in inputs:
        if spec.name not in keys:
            problems.append(Problem("no data are given", path=f"input {spec.name!r}"))
            continue
        value = source[keys[spec.name]]
        try:
            is_path = isinstance(value, (str, Path))
            columns[spec.name] = (
                columns_of(value, [spec], raw, options)[spec.name] if is_path else _in_memory(value, spec)
            )
        except DataError as error:
            problems.extend(error.problems)
    if problems:
        raise DataError(*problems)
    return columns


def _in_memory(value: object, spec: InputSpec) -> InputSource:
    place = f"the array for {spec.name!r}"
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise DataError(Problem(f"what is given is no array: {error}", path=f"input {spec.name!r}")) from error
    if array.ndim == 0:
        return ConstantSource(array, place)
    if array.size == 0:
        raise DataError(Problem(f"the array {list(array.shape)} holds no values", path=f"input {spec.name!r}"))
    return ArraySource(array, place)


def _open_items(source: object, inputs: Sequence[InputSpec], batch_num: int | None, options: ImageOptions) -> Batches:
    refuse_image_only(options)
    items = ItemSource(source, inputs)
    count = items.count()
    if items.endless and batch_num is None:
        raise DataError(Problem(f"{items.place} has no end", hint="say how many batches are to be read (batch_num)"))
    if batch_num is not None and count is not None and count < batch_num:
        raise too_few(batch_num, f"{count}", items.place)

    def rows() -> Iterator[dict[str, Chunk]]:
        for row in items.rows():
            yield {
                spec.name: normalised(row[spec.name], spec, options) if spec.dtype.kind == "f" else row[spec.name]
                for spec in inputs
            }

    return Batches(
        rows,
        inputs,
        place=items.place,
        count=count,
        batch_num=batch_num,
        restartable=items.restartable,
        lone_samples=True,
    )


def _open_records(
    source: TFRecords, inputs: Sequence[InputSpec], batch_size: int | None, batch_num: int | None
) -> Batches:
    fixed = fixed_batch(inputs, batch_size)
    size = fixed or batch_size or DEFAULT_BATCH_SIZE
    place = ";".join(source.files)
    items = ItemSource(lambda: source.batches(size, whole_only=fixed is not None), inputs)
    items.place = place
    return Batches(items.rows, inputs, place=place, batch_num=batch_num, note=f", {size} in a batch")


def _check_number(name: str, value: int | None) -> None:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if value is not None and (not whole or value < 1):
        raise DataError(Problem(f"{name} is {value!r}", allowed="a whole number > 0"))

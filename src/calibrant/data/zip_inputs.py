"""The sources of several inputs, cut into the same batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from calibrant.data.batches import Batches, plural, samples_of_shapes, too_few
from calibrant.data.coerce import any_batch, dtype_problem, fit_shape, shape_problem
from calibrant.data.images import ImageOptions, ImageSource
from calibrant.data.input_source import Chunk, InputSource
from calibrant.data.input_spec import InputSpec
from calibrant.data.one_run_a_row import as_rows, refuse_batch_size, rows_hint
from calibrant.errors import DataError, Problem

DEFAULT_BATCH_SIZE = 16
_NOT_SAMPLES = (
    "where rows are not samples, as those of a sparse tensor, give batches from Python: data is then an iterable of "
    "dicts, one a batch"
)


def open_columns(
    columns: dict[str, InputSource],
    inputs: Sequence[InputSpec],
    batch_size: int | None,
    batch_num: int | None,
    sample_limit: int | None,
    options: ImageOptions,
) -> Batches:
    """Batches from one source per input, see :func:`calibrant.data.open_data.open_data`.

    Raises
    ------
    DataError
        The data of inputs do not fit (each of them), inputs have different numbers of samples or batches, there are too
        few for ``batch_num``, or the batch size is not the one that the model fixes.
    """
    pictures = [name for name, column in columns.items() if isinstance(column, ImageSource)]
    if not pictures:
        refuse_image_only(options)
    scaled = pictures or [spec.name for spec in inputs if spec.dtype.kind == "f"]
    by_row = as_rows(columns, inputs)
    if by_row is not None:
        columns = by_row
        lengths = [column.shape[1] for column in columns.values() if len(column.shape) > 1]
        refuse_batch_size(batch_size, "; ".join(column.place for column in columns.values()), lengths)
    sizes = _batch_sizes(columns, inputs, batch_size)
    whole_only = any(spec.fixed_batch is not None and columns[spec.name].cut for spec in inputs)
    _check_columns(columns, inputs, scaled if options.changes_values else [], by_row is not None)
    count, samples = _count(columns, sizes, whole_only)
    place = "; ".join(dict.fromkeys(column.place for column in columns.values()))
    size = next((sizes[name] for name, column in columns.items() if column.cut), None)
    if batch_size is None and _is_one_batch(columns, [spec for spec in inputs if columns[spec.name].cut]):
        samples, size = samples_of_shapes({name: column.shape for name, column in columns.items()}, inputs), None
    if batch_num is not None and batch_num > count:
        raise too_few(batch_num, f"{count}", place, samples, size)
    available: int = samples
    used_samples: int | None = samples
    if batch_num is None and sample_limit is not None:
        batch_num = _batches_for(sample_limit, count, samples, size)
    used = count if batch_num is None else batch_num
    note = f", {size} in a batch" if size is not None else ", one run a row" if by_row is not None else ""
    if size is not None:
        left_over = samples - count * size if whole_only else 0
        used_samples = min(samples, used * size)
        if left_over and used == count:
            note += f"; the last {left_over} make no whole batch and are left out, the model's batch is fixed"
    elif used < count:
        used_samples = None if available % count else used * (available // count)

    def rows() -> Iterator[dict[str, Chunk]]:
        chunks = [columns[spec.name].chunks(sizes[spec.name]) for spec in inputs]
        for row in islice(zip(*chunks, strict=False), count):
            yield {
                spec.name: normalised(piece, spec, options) if spec.name in scaled else piece
                for spec, piece in zip(inputs, row, strict=True)
            }

    return Batches(
        rows,
        [_with_rank(spec, columns[spec.name]) for spec in inputs],
        place=place,
        count=count,
        samples=used_samples,
        batch_num=batch_num,
        available=available,
        note=note,
        one_a_run=by_row is not None,
    )


def _with_rank(spec: InputSpec, column: InputSource) -> InputSpec:
    """With the shape of an array's or picture's samples, where the model does not say how many axes there are."""
    if spec.shape is not None or not column.cut or column.dtype.names:
        return spec
    return replace(spec, shape=(None, *column.shape[1:]))


def _batches_for(sample_limit: int, count: int, samples: int, size: int | None) -> int:
    """Number of batches that hold so many samples, at most all; by the mean size if each file is a batch."""
    size = size or max((samples or count) // count, 1)
    return min(count, -(-sample_limit // size))


def _batch_sizes(columns: dict[str, InputSource], inputs: Sequence[InputSpec], chosen: int | None) -> dict[str, int]:
    cut = [spec for spec in inputs if columns[spec.name].cut]
    is_one = _is_one_batch(columns, cut)
    if chosen is None and is_one:
        return {spec.name: (*columns[spec.name].shape, 1)[0] for spec in inputs}
    hint = "without a batch size, the arrays are one batch" if is_one else None
    common = fixed_batch(cut, chosen, hint) or chosen or DEFAULT_BATCH_SIZE
    return {spec.name: spec.fixed_batch or common for spec in inputs}


def _is_one_batch(columns: dict[str, InputSource], cut: Sequence[InputSpec]) -> bool:
    """Whether the arrays are what one run takes, without a common axis of samples.

    That is so where the model fixes the first axis of some inputs only, as of the state of a recurrent network, and the
    arrays have the shapes of the inputs and different lengths.
    """
    fixed = {spec.fixed_batch is not None for spec in cut}
    shapes = {spec.name: columns[spec.name].shape for spec in cut}
    return (
        len(fixed) == 2
        and len({shape[0] for shape in shapes.values()}) > 1
        and all(fit_shape(shapes[spec.name], spec.shape) == shapes[spec.name] for spec in cut)
    )


def fixed_batch(inputs: Sequence[InputSpec], chosen: int | None, hint: str | None = None) -> int | None:
    """The batch size that the model fixes, or None.

    Raises
    ------
    DataError
        Another batch size was chosen.
    """
    problems = [
        Problem(
            f"batch_size is {chosen}, the model's is fixed at {spec.fixed_batch}",
            path=f"input {spec.name!r}",
            hint=hint,
        )
        for spec in inputs
        if chosen is not None and spec.fixed_batch not in (None, chosen)
    ]
    if problems:
        raise DataError(*problems)
    return next((spec.fixed_batch for spec in inputs if spec.fixed_batch is not None), None)


def _check_columns(
    columns: dict[str, InputSource], inputs: Sequence[InputSpec], scaled: Sequence[str], by_row: bool
) -> None:
    problems: list[Problem] = []
    for spec in inputs:
        column = columns[spec.name]
        fits = by_row or fit_shape(column.shape, any_batch(spec.shape)) is not None
        if not fits and not column.dtype.names:  # records have no shape of their own
            problem = shape_problem(column.shape, spec, column.place, None)
            shapes = {name: column.shape for name, column in columns.items()}
            problems.append(problem if problem.hint else replace(problem, hint=rows_hint(shapes, inputs, spec.name)))
        elif spec.name not in scaled:
            wrong_type = dtype_problem(column.dtype, spec, column.place, None)
            problems += [] if wrong_type is None else [wrong_type]
    if problems:
        raise DataError(*problems)


def _count(columns: dict[str, InputSource], sizes: dict[str, int], whole_only: bool) -> tuple[int, int]:
    """Number of batches and of samples, which have to be the same for every input."""
    counts: dict[str, int] = {}
    samples: dict[str, int] = {}
    for name, column in columns.items():
        batches = column.count(sizes[name])
        if batches is None:
            continue
        if column.cut and whole_only:
            batches = column.shape[0] // sizes[name]
        counts[name], samples[name] = batches, column.shape[0] if column.shape else batches
    if not counts:
        raise DataError(Problem("no input has samples, there is nothing to cut into batches"))
    if len(set(counts.values())) > 1 or (len(set(sizes.values())) == 1 and len(set(samples.values())) > 1):
        raise DataError(
            *(
                Problem(
                    f"{plural(samples[name], 'sample', 'samples')} in {plural(counts[name], 'batch', 'batches')}, "
                    "the inputs need the same number",
                    file=columns[name].place,
                    path=f"input {name!r}",
                    hint=_NOT_SAMPLES if columns[name].cut else None,
                )
                for name in counts
            )
        )
    count = next(iter(counts.values()))
    total = next((samples[name] for name in counts if columns[name].cut), next(iter(samples.values())))
    if count == 0:
        name = next(iter(counts))
        message = f"{total} samples make no whole batch of {sizes[name]}" if total else "there are no samples"
        raise DataError(Problem(message, file=columns[name].place, path=f"input {name!r}"))
    return count, total


def normalised(piece: Chunk, spec: InputSpec, options: ImageOptions) -> Chunk:
    """The chunk with scale, mean and std applied."""
    if not options.changes_values:
        return piece
    return replace(piece, array=options.normalise(piece.array, spec))


def refuse_image_only(options: ImageOptions) -> None:
    """Refuse options that have no effect on data other than image files.

    Raises
    ------
    DataError
        Lists these options.
    """
    problems = [
        Problem(f"{getattr(options, name)!r} is for image files, the data are none", path=f"image option {name}")
        for name in options.only_for_images()
    ]
    if problems:
        raise DataError(*problems)

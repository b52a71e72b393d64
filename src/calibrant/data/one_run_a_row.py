"""Data that have one axis more than the inputs of a model without a batch: each row is one run, and one sample."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from calibrant.data.coerce import agree, any_batch, fit_shape
from calibrant.data.images import ImageSource
from calibrant.data.input_source import Chunk, InputSource
from calibrant.data.input_spec import InputSpec, Shape, show
from calibrant.errors import DataError, Problem

ONE_A_RUN = "each row of the data is one run of the model, and counts as one sample"


def takes_one_sample(inputs: Iterable[InputSpec]) -> bool:
    """Whether an input is one sample, so that each run is."""
    return any(spec.is_one_sample for spec in inputs)


def has_rows(shape: Shape, spec: InputSpec) -> bool:
    """Whether data have one axis more than an input, and agree in the others.

    Where the input has several axes and the first is open, or an output has the same, that one is of samples, unless
    the model adds one.
    """
    is_open = spec.shape is not None and len(spec.shape) > 1 and spec.shape[0] is None
    return (spec.is_one_sample or not (is_open or spec.has_samples)) and _has_one_more(shape, spec)


def _has_one_more(shape: Shape, spec: InputSpec) -> bool:
    return spec.shape is not None and len(shape) == len(spec.shape) + 1 and agree(shape[1:], spec.shape)


def rows_hint(shapes: Mapping[str, Shape], inputs: Iterable[InputSpec], name: str) -> str | None:
    """What the others need where the data of an input are one run a row; None where these are not."""
    specs = {spec.name: spec for spec in inputs}
    if not has_rows(shapes[name], specs[name]):
        return None
    rows = shapes[name][0]
    others = {other: (rows, *spec.shape) for other, spec in specs.items() if other != name and spec.shape}
    lacking = [f"{other!r} {show(wanted)}" for other, wanted in others.items() if shapes[other][:1] != (rows,)]
    return f"if each of the {rows} rows is one run, give as many to {', '.join(lacking)}" if lacking else None


def _are_pictures(column: InputSource, spec: InputSpec) -> bool:
    """Whether it is one picture a row, of a model that takes one a run."""
    return isinstance(column, ImageSource) and _has_one_more(column.shape, spec)


def takes_one_row(spec: InputSpec) -> bool:
    """Whether an input seems to take one recording a run, as a waveform does: floats along one axis."""
    is_one_axis = spec.shape is not None and len(spec.shape) == 1 and spec.shape[0] != 1
    return is_one_axis and spec.dtype.kind == "f" and not spec.has_samples


class RowSource:
    """The rows of another source, each one run."""

    cut = False

    def __init__(self, source: InputSource):
        self._source = source
        self.place = source.place
        self.shape = source.shape
        self.dtype = source.dtype

    def count(self, batch_size: int) -> int:
        """One run a row, whatever the batch size."""
        return self.shape[0]

    def chunks(self, batch_size: int) -> Iterator[Chunk]:
        """The rows one by one."""
        for chunk in self._source.chunks(1):
            yield replace(chunk, array=chunk.array[0], label=f"row {chunk.first}", first=None, is_sample=True)


class RunSource:
    """Another source, of which all, or each file where these are the batches, is one run."""

    cut = False

    def __init__(self, source: InputSource):
        self._source = source
        self._runs = 1 if source.cut else source.count(1) or 1
        self.place = source.place
        self.shape = (self._runs, *source.shape)
        self.dtype = source.dtype

    def count(self, batch_size: int) -> int:
        """The number of runs, whatever the batch size."""
        return self._runs

    def chunks(self, batch_size: int) -> Iterator[Chunk]:
        """The runs one by one."""
        for chunk in self._source.chunks(self._source.shape[0]):
            yield replace(chunk, first=None, is_sample=True)


def as_rows(columns: Mapping[str, InputSource], inputs: Sequence[InputSpec]) -> dict[str, InputSource] | None:
    """The sources read run by run: by rows, or whole where an input is one sample; None where the inputs take batches.

    Scalars are fed with every run.
    """
    if takes_one_sample(inputs) and all(_is_whole(columns[spec.name], spec) for spec in inputs):
        return {name: RunSource(column) if column.shape else column for name, column in columns.items()}
    if all(fit_shape(columns[spec.name].shape, any_batch(spec.shape)) is not None for spec in inputs):
        return None
    rows: dict[str, InputSource] = {}
    for spec in inputs:
        column = columns[spec.name]
        if column.cut and (has_rows(column.shape, spec) or _are_pictures(column, spec)):
            rows[spec.name] = RowSource(column)
        elif spec.shape != () or column.shape != ():
            return None
        else:
            rows[spec.name] = column
    counts = {column.shape[0] for column in rows.values() if column.shape}
    return rows if len(counts) == 1 else None


def _is_whole(column: InputSource, spec: InputSpec) -> bool:
    """Whether a source holds just what an input takes, or files of that."""
    wanted = spec.shape if column.cut else any_batch(spec.shape)
    return wanted is not None and len(column.shape) == len(wanted) and agree(column.shape, wanted)


def refuse_batch_size(chosen: int | None, place: str, sizes: Sequence[int]) -> None:
    """Refuse a number of samples in a batch that is neither 1 nor the length of a row.

    Raises
    ------
    DataError
        Another one was chosen.
    """
    if chosen not in (None, 1, *sizes):
        message = f"batch_size is {chosen}, but each row of the data is one run of the model"
        raise DataError(Problem(message, file=place, hint="leave out --batch-size (batch_size=)"))


def one_sample_sentence(inputs: Sequence[InputSpec]) -> str | None:
    """That an input is one sample, and how several are given; None without such an input."""
    for spec in inputs:
        if spec.is_one_sample and spec.shape is not None:
            return (
                f"input {spec.name!r} {show(spec.shape)} is one sample, as the model adds the axis of samples itself; "
                f"several are given as {show(('N', *spec.shape))}, each row is one run"
            )
    return None


def first_axis_sentence(inputs: Sequence[InputSpec]) -> str | None:
    """That the first axis of an input that may be a recording is taken for samples; None without such an input."""
    for spec in inputs:
        if spec.shape is not None and takes_one_row(spec):
            return (
                f"the first axis of input {spec.name!r} {show(spec.shape)} is taken for samples; where one run takes "
                f"all of it, as of a recording, give one run a row: {show(('N', *spec.shape))}"
            )
    return None

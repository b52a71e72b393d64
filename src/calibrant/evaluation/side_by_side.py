"""The same batches for several models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from calibrant.data.input_spec import inputs_of
from calibrant.data.open_data import open_data
from calibrant.data.options import DataOptions
from calibrant.errors import DataError, Problem
from calibrant.evaluation.labels_per_sample import refuse_shuffled
from calibrant.graph.graph import Graph

Batch = dict[str, np.ndarray]
_DEFAULT = DataOptions()


class SideBySide:
    """Batches for several models, each batch once for all of them.

    Data are read once where the models' inputs are of the same types and shapes; otherwise once per model, and then
    they must be the same each time.

    Parameters
    ----------
    graphs : Sequence[Graph]
        The models; the inputs of the first name the data.
    data : Any
        As for :func:`calibrant.data.open_data.open_data`.
    with_labels : bool
        Keep the y of ``(x, y)`` pairs; False: the labels are given beside the data, whose order must stay.
    options : DataOptions
        How the data are read.

    Raises
    ------
    DataError
        The data do not fit, cannot be read once per model, or are to be shuffled beside labels.
    """

    def __init__(self, graphs: Sequence[Graph], data: Any, with_labels: bool = False, options: DataOptions = _DEFAULT):
        if not with_labels:
            refuse_shuffled(options.shuffle)
        specs = [inputs_of(graph, like=graphs[0]) for graph in graphs]
        forms = {tuple((spec.dtype, spec.shape) for spec in each) for each in specs}
        self._names = [[spec.name for spec in each] for each in specs]
        self._is_shared = len(forms) == 1
        own = specs[:1] if self._is_shared else specs
        self._sources = [open_data(data, each, with_labels=with_labels, **options.keywords()) for each in own]
        if not self._is_shared and not self._sources[0].restartable:
            problem = "the data can be read only once, but the models have inputs of different types or shapes"
            raise DataError(Problem(problem, hint="give files, arrays, or a function that makes the generator anew"))
        if len({source.one_a_run for source in self._sources}) > 1:
            raise DataError(Problem("each row of the data is one run of some of the models, but samples of others"))

    @property
    def one_a_run(self) -> bool:
        """Whether each batch is one sample."""
        return self._sources[0].one_a_run

    @property
    def count(self) -> int | None:
        """Number of batches; None if only reading tells."""
        counts = [source.count for source in self._sources if source.count is not None]
        return min(counts) if len(counts) == len(self._sources) else None

    @property
    def samples(self) -> int | None:
        """Number of samples; None if only reading tells."""
        counts = [source.samples for source in self._sources if source.samples is not None]
        return min(counts) if len(counts) == len(self._sources) else None

    def __iter__(self) -> Iterator[tuple[Batch, ...]]:
        """One batch per model, by the names of its own inputs."""
        if not self._is_shared:
            yield from zip(*self._sources, strict=False)
            return
        for batch in self._sources[0]:
            values = [batch[name] for name in self._names[0]]
            yield tuple(dict(zip(names, values, strict=True)) for names in self._names)

    def labels(self, samples: int) -> Any:
        """The y of the batch that was yielded last, by output where y was a dict; None where the data have none."""
        return labels_of_items(self._sources[0].take_labels(), samples)


def labels_of_items(items: Sequence[Any], samples: int) -> Any:
    """The y of one batch, by output where y was a dict; None where there is none.

    Parameters
    ----------
    items : Sequence[Any]
        The y of one item that was a batch, or of each sample.
    samples : int
        In the batch.

    Raises
    ------
    DataError
        Not one label a sample, or several arrays without names.
    """
    if not items:
        return None
    if isinstance(items[0], Mapping):
        return {key: _together([item[key] for item in items], samples) for key in items[0]}
    if isinstance(items[0], (tuple, list)):
        problem = f"y of the data is a {type(items[0]).__name__}"
        raise DataError(Problem(problem, allowed="one array, or a dict by the names of the outputs"))
    return _together(items, samples)


def _together(items: Sequence[Any], samples: int) -> np.ndarray:
    """Labels of a batch: those of single samples stacked, those of a batch as they are."""
    arrays = [np.asarray(item) for item in items]
    is_batch = len(arrays) == 1 and arrays[0].ndim > 0 and len(arrays[0]) == samples
    found = arrays[0] if is_batch else np.stack(arrays)
    if len(found) != samples:
        raise DataError(Problem(f"y has {len(found)} labels for {samples} samples", allowed="one label a sample"))
    return found

"""Folders of raw little-endian ``.bin`` files, each file one batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from calibrant.data.input_source import Chunk, read_errors
from calibrant.data.input_spec import InputSpec, show
from calibrant.errors import DataError, Problem

_MOST_LISTED = 10


class BinSource:
    """The files of one input, sorted by name.

    Parameters
    ----------
    files : at least one, in the order in which they are read.
    place : the folder, as the user named it.
    spec : the input; its shape has to be known but for the batch, which then follows from each file's size.
    dtype : what the files hold.

    Raises
    ------
    DataError : a shape that is not known, or, for every such file, a size that is not that of a batch.
    """

    cut = False

    def __init__(self, files: Sequence[Path], place: str, spec: InputSpec, dtype: np.dtype):
        if spec.shape is None or None in spec.shape[1:]:
            message = f"raw files need a whole shape, but it is {show(spec.shape)}"
            hint = f"give the input shape, for example '{spec.name}:1,224,224,3'"
            raise DataError(Problem(message, file=place, path=f"input {spec.name!r}", hint=hint))
        if dtype.kind not in "biuf":
            message = f"raw files cannot hold values of type {dtype}"
            raise DataError(Problem(message, file=place, path=f"input {spec.name!r}"))
        self._files = tuple(files)
        self._spec = spec
        self.place = place
        self.dtype = dtype.newbyteorder("<")
        self._sample_shape = spec.shape[1:]
        self._sample_bytes = math.prod(self._sample_shape) * self.dtype.itemsize
        batches = self._check_sizes()
        self.shape = (sum(batches), *self._sample_shape) if spec.shape else ()

    def count(self, batch_size: int) -> int:
        """One batch a file, whatever the batch size."""
        return len(self._files)

    def chunks(self, batch_size: int) -> Iterator[Chunk]:
        """The files one by one."""
        for path in self._files:
            with read_errors(str(path)):
                array = np.fromfile(path, dtype=self.dtype)
                shape = (array.nbytes // self._sample_bytes, *self._sample_shape) if self._spec.shape else ()
                array = array.reshape(shape)
            yield Chunk(array, file=str(path))

    def _check_sizes(self) -> list[int]:
        batches, problems = [], []
        fixed = 1 if not self._spec.shape else self._spec.fixed_batch
        layout = f"{show(self._spec.shape)} of {self.dtype.name}"
        for path in self._files:
            with read_errors(str(path)):
                size = path.stat().st_size
            if fixed is not None and size != fixed * self._sample_bytes:
                problems.append(
                    self._wrong(path, f"{layout} is {fixed * self._sample_bytes} bytes, the file has {size}")
                )
            elif size == 0 or size % self._sample_bytes:
                message = f"{layout} is a multiple of {self._sample_bytes} bytes, the file has {size}"
                problems.append(self._wrong(path, message))
            else:
                batches.append(size // self._sample_bytes)
        if len(problems) > _MOST_LISTED:
            more = len(problems) - _MOST_LISTED
            problems = [*problems[:_MOST_LISTED], Problem(f"{more} more files of the wrong size", file=self.place)]
        if problems:
            raise DataError(*problems)
        return batches

    def _wrong(self, path: Path, message: str) -> Problem:
        return Problem(message, file=str(path), path=f"input {self._spec.name!r}")

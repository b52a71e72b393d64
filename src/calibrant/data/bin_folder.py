"""Folders of raw little-endian ``.bin`` files, each file one batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from calibrant.data.input_source import Chunk, read_errors
from calibrant.data.input_spec import InputSpec, Shape, show, static_shape
from calibrant.errors import DataError, Problem

_MOST_LISTED = 10


class BinSource:
    """The raw files of one input, one batch each.

    Parameters
    ----------
    files : Sequence[Path]
        At least one, in the order in which they are read.
    place : str
        The folder, as the user named it.
    spec : InputSpec
        The input; its shape has to be known except for the batch, which follows from each file's size.
    dtype : np.dtype
        Type of the values in the files, little-endian unless it says big-endian (``>f4``).

    Raises
    ------
    DataError
        The shape is not known, or files have a size that is not that of a batch (each of them).
    """

    cut = False

    def __init__(self, files: Sequence[Path], place: str, spec: InputSpec, dtype: np.dtype):
        sample_shape = None if spec.shape is None else static_shape(spec.shape[1:])
        if sample_shape is None:
            message = f"raw files need a whole shape, but it is {show(spec.shape)}"
            hint = f"give the input shape, for example '{spec.name}:1,224,224,3'"
            raise DataError(Problem(message, file=place, path=f"input {spec.name!r}", hint=hint))
        if dtype.kind not in "biuf":
            message = f"raw files cannot hold values of type {dtype}"
            raise DataError(Problem(message, file=place, path=f"input {spec.name!r}"))
        self._files = tuple(files)
        self._spec = spec
        self.place = place
        self.dtype = dtype if dtype.byteorder == ">" else dtype.newbyteorder("<")
        self._sample_shape = sample_shape
        self._sample_bytes = math.prod(self._sample_shape) * self.dtype.itemsize
        batches = self._check_sizes()
        self.shape: Shape = (sum(batches), *sample_shape) if spec.shape else ()

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
        """The number of samples in each file."""
        batches: list[int] = []
        problems: list[Problem] = []
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

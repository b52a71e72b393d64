"""Batches from folders of .bin files, as feeds of a session."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from calibrant.data.input_spec import data_type, show
from calibrant.data.open_data import InputSpec, open_data
from calibrant.errors import DataError, Problem


def load_data(
    inputs: Mapping[str, Sequence[int | None]], paths: Sequence[str], types: Sequence[str], num: int
) -> Iterator[dict[str, np.ndarray]]:
    """Batches for a session's ``feed_dict``.

    Parameters
    ----------
    inputs : Mapping[str, Sequence[int]]
        Tensor to feed → shape of a batch; only the batch itself may be open (-1 or None).
    paths : Sequence[str]
        For each input a folder of .bin files (raw, little-endian), one batch each, in the order of their names; or one
        folder with a sub-folder named after each input.
    types : Sequence[str]
        For each input the type of the numbers, for example ``'float32'``.
    num : int
        How many batches.

    Yields
    ------
    dict[str, np.ndarray]
        Tensor name → array, in the type of the file.

    Raises
    ------
    DataError
        As many paths or types as inputs are wanted; a shape or type that is none; a file of another size; fewer files
        than ``num``.
    """
    paths, types = _listed(paths), _listed(types)
    of_all = len(paths) == 1 < len(inputs)
    if len(inputs) != len(types) or not (of_all or len(inputs) == len(paths)):
        message = f"{len(inputs)} inputs, {len(paths)} folders and {len(types)} types"
        allowed = "one type for each input, in the same order; a folder for each, or one with a sub-folder for each"
        raise DataError(Problem(message, allowed=allowed))
    inputs = {name: _sizes(name, shape) for name, shape in inputs.items()}
    specifications = [InputSpec(name, None, data_type(kind)) for name, kind in zip(inputs, types, strict=True)]
    folders = [path.strip() for path in paths]
    source = folders[0] if of_all else dict(zip(inputs, folders, strict=True))
    return iter(open_data(source, specifications, batch_num=num, shapes=inputs))


def _sizes(name: str, shape: Sequence[int | None]) -> Sequence[int | None]:
    """A shape of which no size but the batch is open; one that is no shape at all is reported where data are opened."""
    sizes = list(shape) if isinstance(shape, (list, tuple)) else []
    known = [size if isinstance(size, (int, np.integer)) and size >= 0 else None for size in sizes]
    if 0 in known or None in known[1:]:
        allowed = "whole numbers above 0; only the batch, the first, may be -1, as each file then says it"
        raise DataError(Problem(f"the shape given is {show(sizes)}", path=f"input {name!r}", allowed=allowed))
    return shape


def _listed(value: str | Sequence[str]) -> list[str]:
    return [part for part in value.split(";") if part.strip()] if isinstance(value, str) else list(value)

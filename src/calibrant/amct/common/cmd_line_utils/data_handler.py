"""Batches from folders of .bin files, as feeds of a session."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from calibrant.data.open_data import InputSpec, open_data
from calibrant.errors import DataError, Problem


def load_data(
    inputs: Mapping[str, Sequence[int]], paths: Sequence[str], types: Sequence[str], num: int
) -> Iterator[dict[str, np.ndarray]]:
    """Batches for a session's ``feed_dict``.

    Parameters
    ----------
    inputs : Mapping[str, Sequence[int]]
        Tensor to feed → shape of a batch, all of it.
    paths : Sequence[str]
        For each input a folder of .bin files (raw, little-endian), one batch each, in the order of their names.
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
        As many paths or types as inputs are wanted; a file of another size; fewer files than ``num``.
    """
    paths, types = _listed(paths), _listed(types)
    if not len(inputs) == len(paths) == len(types):
        message = f"{len(inputs)} inputs, {len(paths)} folders and {len(types)} types"
        raise DataError(Problem(message, allowed="one folder and one type for each input, in the same order"))
    try:
        specifications = [
            InputSpec(name, tuple(int(size) for size in shape), np.dtype(kind.strip()))
            for (name, shape), kind in zip(inputs.items(), types, strict=True)
        ]
    except (TypeError, ValueError) as error:
        raise DataError(
            Problem(f"a shape or type cannot be read: {error}", allowed="[32, 224, 224, 3], 'float32'")
        ) from None
    folders = dict(zip(inputs, (path.strip() for path in paths), strict=True))
    return iter(open_data(folders, specifications, batch_num=num))


def _listed(value: str | Sequence[str]) -> list[str]:
    return [part for part in value.split(";") if part.strip()] if isinstance(value, str) else list(value)

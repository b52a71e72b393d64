"""Whether one-hot labels have as many columns as the model has classes."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from calibrant.errors import DataError, Problem
from calibrant.evaluation.predictions import long_axes


def check_width(width: int, outputs: np.ndarray, file: str, offset: int = 0, ignore: Collection[int] = ()) -> None:
    """Refuse one-hot rows of another width than the classes of an output, where their number is known.

    Parameters
    ----------
    width : int
        Columns of the labels.
    outputs : np.ndarray
        [N, ...] of the model, some of them.
    file : str
        What messages call the labels.
    offset : int
        What is added to class numbers.
    ignore : Collection[int]
        Columns that do not count.

    Raises
    ------
    DataError
        The numbers differ.
    """
    classes = _classes(outputs)
    last = max((number for number in range(width) if number not in ignore), default=width - 1)
    if classes is None or classes in (width + offset, last + 1 + offset):
        return
    shift = f" with an offset of {offset}" if offset else ""
    problem = f"one-hot labels of {width} columns{shift} for a model with {classes} classes"
    raise DataError(Problem(problem, file=file, allowed=f"{classes - offset} columns, or class numbers [N]"))


def _classes(outputs: np.ndarray) -> int | None:
    """How many classes an output has; None where it gives class numbers."""
    sizes = long_axes(outputs)
    if outputs.dtype.kind in "biu":
        return None
    return sizes[-1] if sizes else 2

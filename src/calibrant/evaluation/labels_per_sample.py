"""One label a sample, no more and no fewer."""

from __future__ import annotations

import numpy as np

from calibrant.errors import DataError, Problem


def check_number(truth: np.ndarray, samples: int, fixed: int | None) -> None:
    """Refuse another number of labels than samples; those of a last part of a fixed batch are left out with it.

    Parameters
    ----------
    truth : np.ndarray
        The labels.
    samples : int
        How many the models run.
    fixed : int | None
        The batch that a model asks for.

    Raises
    ------
    DataError
        The numbers differ.
    """
    if not samples <= len(truth) < samples + (fixed or 1):
        raise DataError(Problem(f"{len(truth)} labels for {samples} samples", allowed="one label a sample"))


def labels_of_batch(truth: np.ndarray, done: int, count: int) -> np.ndarray:
    """The labels of the next samples.

    Parameters
    ----------
    truth : np.ndarray
        The labels.
    done, count : int
        How many samples came before, and how many there are in the batch.

    Raises
    ------
    DataError
        There are too few.
    """
    if done + count > len(truth):
        raise DataError(Problem(f"{len(truth)} labels, but there are more samples", allowed="one label a sample"))
    return truth[done : done + count]

"""The samples of an output, which its first axis need not be: regions of one image, time before samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def by_sample(values: np.ndarray, samples: int, fixed_second: bool) -> np.ndarray:
    """An output of one run as [samples, ...], or [1, ...] where no axis tells them apart.

    Parameters
    ----------
    values : np.ndarray
        At least one axis.
    samples : int
        Number of samples that were run at once.
    fixed_second : bool
        Whether the second axis has that size for any number of samples.
    """
    if len(values) == samples:
        return values
    if values.ndim > 1 and values.shape[1] == samples and not fixed_second:
        return np.moveaxis(values, 1, 0)
    groups = 1 if len(values) % samples else samples
    return values.reshape(groups, values.size // groups)


def joined(runs: Sequence[np.ndarray]) -> np.ndarray:
    """The samples of several runs, [N, ...].

    Where the data decide how many values a sample has, zeros are added: they have neither signal nor noise.

    Parameters
    ----------
    runs : Sequence[np.ndarray]
        Of :func:`by_sample`.
    """
    if len({run.shape[1:] for run in runs}) == 1:
        return np.concatenate(runs)
    rows = [run.reshape(len(run), run[:1].size) for run in runs]
    widest = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(row, ((0, 0), (0, widest - row.shape[1]))) for row in rows])

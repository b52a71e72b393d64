"""Rounding of weights for the least error of a layer's outputs, in closed form.

Rows of the weights are rounded one after the other. What rounding a row does to the outputs is made up for, as far as
possible, by the rows that are not rounded yet: with second moments G of the inputs, the best change of those rows is a
row of the Cholesky factor of G⁻¹, divided by its diagonal. All outputs are rounded at once, in one order, the rows of
the largest moments first.

References
----------
B. Hassibi and D. Stork, "Second order derivatives for network pruning: Optimal Brain Surgeon", 1993.
E. Frantar and D. Alistarh, "Optimal Brain Compression", 2022.
E. Frantar, S. Ashkboos, T. Hoefler and D. Alistarh, "GPTQ: Accurate Post-Training Quantization for Generative
Pre-trained Transformers", 2022.
"""

from __future__ import annotations

import numpy as np

LEAST_SHARE = 0.01
"""Of uncorrelated inputs in what is believed about them, however many samples there are."""
_CLEARLY_LESS = 1 - 1e-9
_ROWS_AT_A_TIME = 64
"""Between which errors are made up for one by one; for all rows behind them by one product."""


def rounded_for_output(steps: np.ndarray, nearest: np.ndarray, moments: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Codes of weights whose error matters least at the outputs; never a larger error there than ``nearest`` has.

    Parameters
    ----------
    steps : np.ndarray
        Weights divided by their scales, float64 [rows, outputs].
    nearest : np.ndarray
        Their nearest codes, integers [rows, outputs]; an output for which nothing better is found keeps them.
    moments : np.ndarray
        Second moments G of the inputs, float64 [rows, rows], symmetric and positive semidefinite. The error of an
        output is eᵀ G e, where e is its column of steps minus codes.
    levels : np.ndarray
        The codes that are allowed, integers, ascending.

    Returns
    -------
    np.ndarray
        Codes of the type and shape of ``nearest``.
    """
    size = np.diagonal(moments)
    if not (moments - np.diag(size)).any():
        return nearest
    order = np.argsort(-size, kind="stable")
    try:
        factor = _feedback(moments[np.ix_(order, order)])
    except np.linalg.LinAlgError:  # inputs that hardly vary: what they seem to do together is rounding
        return nearest
    middle = (levels[1:] + levels[:-1]) / 2
    wanted = steps[order].astype(np.float64)
    codes = np.empty_like(nearest)
    for start in range(0, len(order), _ROWS_AT_A_TIME):
        end = min(start + _ROWS_AT_A_TIME, len(order))
        for row in range(start, end):
            codes[order[row]] = levels[np.searchsorted(middle, wanted[row])]
            wanted[row] -= codes[order[row]]
            wanted[row + 1 : end] -= np.outer(factor[row, row + 1 : end], wanted[row])
        wanted[end:] -= factor[start:end, end:].T @ wanted[start:end]
    better = output_error(steps - codes, moments) < _CLEARLY_LESS * output_error(steps - nearest, moments)
    return np.where(better, codes, nearest)


def output_error(error: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """eᵀ G e of every column e, float64 [outputs]."""
    return np.einsum("ro,ro->o", error, moments @ error)


def _feedback(moments: np.ndarray) -> np.ndarray:
    """By row, what the rows after it are to change by if it changes by 1; a positive definite matrix is needed."""
    inverse = np.linalg.inv(moments)
    upper = np.linalg.cholesky((inverse + inverse.T) / 2).T
    return upper / np.diagonal(upper)[:, None]


def shrunk(moments: np.ndarray, samples: int) -> np.ndarray:
    """Second moments drawn towards uncorrelated inputs of equal size, the more so the fewer samples they come from.

    Parameters
    ----------
    moments : np.ndarray
        Means of products of inputs, float64 [..., rows, rows].
    samples : int
        Number of patches that they are the mean of, at least 1.

    Returns
    -------
    np.ndarray
        Positive definite, but for inputs that are all zero.
    """
    rows = moments.shape[-1]
    share = 1 - believed_share(rows, samples)
    mean = np.trace(moments, axis1=-2, axis2=-1)[..., None, None] / rows
    return (1 - share) * moments + share * mean * np.eye(rows)


def believed_share(rows: int, samples: int) -> float:
    """The share of second moments of so many rows, from so many samples, that is not drawn towards anything."""
    return 1 - max(LEAST_SHARE, rows / (rows + samples))

"""NUQ: weights that use few of the 256 int8 levels, chosen to minimise the squared error.

With the scales given, the choice of levels is one-dimensional clustering with the cluster centres restricted to
integers, and dynamic programming solves it exactly: a set of kept levels costs the sum over neighbouring kept levels
a < b of what the weights between them cost, each with the nearer of the two. The border (a + b) / 2 is a whole or a
half level, so weights are collected in bins half a level wide and no bin is ever cut. For each bin the number of
weights and the first two moments of their place in it are kept; with them the cost of a bin is exact for any level.

References
----------
H. Wang and M. Song, "Ckmeans.1d.dp: optimal k-means clustering in one dimension by dynamic programming",
The R Journal 3(2), 2011.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibrant.algorithms.arithmetic import SMALLEST_SCALE
from calibrant.algorithms.arq import QuantizedWeights, channels_last, quantize_weights

_VALUES_AT_A_TIME = 1 << 16
_LOWEST, _HIGHEST = -128, 127
_KEEP_ZERO = 2.0**20


@dataclass(frozen=True, eq=False)
class LevelChoice:
    """The best levels for given scales.

    Parameters
    ----------
    scale : np.ndarray
        Scale of each channel, float32 (channels,).
    levels : np.ndarray
        The kept levels that some weight uses, ascending.
    codes : np.ndarray
        The nearest kept level of each weight, the upper one half-way; int8 (weights of one channel, channels).
    squared_error : float
        Sum of (weight - code * scale)^2.
    """

    scale: np.ndarray
    levels: np.ndarray
    codes: np.ndarray
    squared_error: float


def quantize_weights_nonuniform(
    weights: np.ndarray, channel_axes: tuple[int, ...] = (), num_steps: int = 32, num_of_iteration: int = 1
) -> QuantizedWeights:
    """Quantize weights to int8 with at most ``num_steps`` distinct values.

    The scales are first those of uniform quantization to 8 bits; for them the levels are the optimum. Each refinement
    fits the scales to the levels in use by least squares and solves for the levels again (which assigns the weights
    anew, too); it is kept only if it lowers the error, and the first that does not is the last.

    Parameters
    ----------
    weights : np.ndarray
        Float array of any shape.
    channel_axes : tuple[int, ...]
        Axes that number the channels, each of which has its own scale; () for one scale. The levels are common to all
        channels.
    num_steps : int
        Largest number of levels, 1 … 256. A configuration allows 16 and 32.
    num_of_iteration : int
        Number of refinements, 0 or more; 0 leaves the first solution.

    Returns
    -------
    QuantizedWeights
        The weights, with ``levels`` the kept levels that occur.

    Raises
    ------
    ValueError
        Weights are NaN or infinite, there are no weights, axes do not exist, or parameters are out of range.
    """
    if not 1 <= num_steps <= 256:
        raise ValueError(f"num_steps {num_steps}; allowed are 1 to 256")
    if num_of_iteration < 0:
        raise ValueError(f"num_of_iteration {num_of_iteration}; allowed are 0 and more")
    uniform = quantize_weights(weights, 8, channel_axes)
    floats = channels_last(np.asarray(weights, np.float32), uniform.channel_axes)
    zero = ~floats.any(axis=0)
    # Level 0 stays if a channel needs it, even if other levels would suit the others better.
    first_scale = np.where(zero, uniform.scale * np.float32(_KEEP_ZERO), uniform.scale)
    best = choose_levels(floats, first_scale, num_steps)
    for _ in range(num_of_iteration):
        refined = choose_levels(floats, fit_scale(floats, best.codes, best.scale), num_steps)
        if not refined.squared_error < best.squared_error:
            break
        best = refined
    values = _in_place_of(best.codes, weights.shape, uniform.channel_axes)
    scale = np.where(zero, uniform.scale, best.scale)
    return QuantizedWeights(values, scale, uniform.channel_axes, 8, tuple(best.levels.tolist()))


def choose_levels(
    weights: np.ndarray, scale: np.ndarray, num_steps: int, lowest: int = _LOWEST, highest: int = _HIGHEST
) -> LevelChoice:
    """The at most ``num_steps`` levels of lowest … highest with the least squared error for the given scales.

    Parameters
    ----------
    weights : np.ndarray
        The weights, float32 (weights of one channel, channels).
    scale : np.ndarray
        Scale of each channel, float32 (channels,).
    num_steps : int
        Largest number of levels, 1 or more.
    lowest, highest : int
        Range of the levels to choose from, lowest < highest, within int8.

    Returns
    -------
    LevelChoice
        The levels and the weights quantized to them.
    """
    bins, moments = _collect(weights, scale, lowest, highest)
    levels, squared_error = _solve(moments, num_steps)
    levels = levels + lowest
    centres = lowest + np.arange(moments.shape[1]) / 2 + 0.25
    nearest = levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, centres)].astype(np.int8)
    used = np.unique(nearest[moments[0] > 0])
    return LevelChoice(scale, used, nearest[bins], squared_error)


def fit_scale(weights: np.ndarray, codes: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The scales that minimise the squared error for given codes: sum(weight * code) / sum(code^2) in each channel.

    A channel whose codes are all 0, or whose best scale would be below SMALLEST_SCALE, keeps the scale it has.
    Returns float32, (channels,).
    """
    products, squares = np.zeros(scale.shape), np.zeros(scale.shape)
    for rows in _chunks(weights):
        part = codes[rows].astype(np.float64)
        products += np.einsum("rc,rc->c", weights[rows], part)
        squares += np.einsum("rc,rc->c", part, part)
    fitted = (products / np.maximum(squares, 1)).astype(np.float32)
    return np.where(fitted >= SMALLEST_SCALE, fitted, scale)


def _collect(weights: np.ndarray, scale: np.ndarray, lowest: int, highest: int) -> tuple[np.ndarray, np.ndarray]:
    """The bin of each weight, and of each bin the moments 0, 1, 2 of the distance to its lower edge, in levels.

    Bin j reaches from lowest + j/2 to lowest + (j+1)/2, the lower edge included; the first and the last bin also hold
    the weights outside, which every choice of levels assigns to its first or last level. A weight of channel c counts
    scale_c^2, so that costs are those of the float weights.
    """
    count = 2 * (highest - lowest)
    bins = np.empty(weights.shape, np.int16)
    moments = np.zeros((3, count))
    levels_per_unit = 1 / scale.astype(np.float64)
    squared_scale = scale.astype(np.float64) ** 2
    importance = None
    if scale.size > 1:
        importance = np.tile(squared_scale, (_rows_at_a_time(weights), 1))
    for rows in _chunks(weights):
        position = weights[rows] * levels_per_unit
        position -= lowest
        half_levels = np.floor(position * 2)
        np.clip(half_levels, 0, count - 1, out=half_levels)
        position -= half_levels / 2
        index = half_levels.astype(np.intp)
        bins[rows] = index
        index, position = index.ravel(), position.ravel()
        mass = None if importance is None else importance[: len(weights[rows])].ravel()
        first = position if mass is None else mass * position
        moments[0] += np.bincount(index, mass, count)
        moments[1] += np.bincount(index, first, count)
        moments[2] += np.bincount(index, first * position, count)
    if importance is None:
        moments *= squared_scale
    return bins, moments


def _solve(moments: np.ndarray, num_steps: int) -> tuple[np.ndarray, float]:
    """Exact clustering: the levels (counted from 0) of least cost, and their cost.

    Of two choices of equal cost, the one with fewer levels is taken.
    """
    before, between, after = _costs(moments)
    every = np.arange(len(before))
    cost = before
    chosen_before = []
    totals = [float((cost + after).min())]
    last = [int((cost + after).argmin())]
    for _ in range(1, min(num_steps, len(before))):
        through = between + cost
        previous = through.argmin(axis=1)
        cost = through[every, previous]
        chosen_before.append(previous)
        totals.append(float((cost + after).min()))
        last.append(int((cost + after).argmin()))
    fewest = totals.index(min(totals))
    levels = [last[fewest]]
    for previous in reversed(chosen_before[:fewest]):
        levels.append(int(previous[levels[-1]]))
    return np.array(levels[::-1]), totals[fewest]


def _costs(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The cost of the weights below the first kept level, between two of them, and above the last one.

    Returns
    -------
    tuple[np.ndarray, np.ndarray, np.ndarray]
        ``before[b]``, all weights below level b, assigned to b; ``between[b, a]``, the weights between the neighbouring
        kept levels a < b, assigned to the nearer, infinite unless a < b; ``after[a]``, all weights from level a on,
        assigned to a.
    """
    count = moments.shape[1]
    level = np.arange(count // 2 + 1)[:, None]
    bin_number = np.arange(count)
    distance = bin_number / 2 - level
    cost = np.maximum(moments[0] * distance**2 + 2 * moments[1] * distance + moments[2], 0)
    own_and_above = bin_number >= 2 * level
    # upwards[a, j]: bins from level a up to bin j, j not included; downwards[b, j]: bins from j up to level b.
    upwards = np.zeros((len(level), count + 1))
    np.cumsum(np.where(own_and_above, cost, 0), axis=1, out=upwards[:, 1:])
    downwards = np.zeros((len(level), count + 1))
    downwards[:, :-1] = np.cumsum(np.where(own_and_above, 0, cost)[:, ::-1], axis=1)[:, ::-1]
    upper, lower = level, level.T
    border = upper + lower
    between = np.where(lower < upper, upwards[lower, border] + downwards[upper, border], np.inf)
    return downwards[:, 0], between, upwards[:, -1]


def _in_place_of(codes: np.ndarray, shape: tuple[int, ...], channel_axes: tuple[int, ...]) -> np.ndarray:
    """The inverse of ``channels_last``: (weights of one channel, channels) back to the shape of the weights."""
    others = [axis for axis in range(len(shape)) if axis not in channel_axes]
    moved = codes.reshape([shape[axis] for axis in (*others, *channel_axes)])
    return np.ascontiguousarray(np.moveaxis(moved, range(len(others), len(shape)), channel_axes))


def _rows_at_a_time(weights: np.ndarray) -> int:
    return _VALUES_AT_A_TIME // weights.shape[1] + 1


def _chunks(weights: np.ndarray) -> list[slice]:
    step = _rows_at_a_time(weights)
    return [slice(start, start + step) for start in range(0, len(weights), step)]

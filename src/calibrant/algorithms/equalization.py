"""Cross-layer equalization: factors that move range between the channels of two layers that follow each other.

References
----------
M. Nagel et al., "Data-free quantization through weight equalization and bias correction", ICCV 2019, section 4.1, which
equalizes the weights of both layers. Here the activations between them count, too: they have one range for all
channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SMALLEST_FACTOR, LARGEST_FACTOR = 1e-4, 1e4
MARGIN = 1.25
"""How much larger than observed a value may be without being clipped where it was not."""


def equalizing_factors(before: Sequence[np.ndarray], after: np.ndarray | None) -> np.ndarray:
    """The factors s by which channels are divided before a layer and its weights are multiplied.

    With u the largest share that a channel takes of any range before it, and v its share of the range of the weights
    that read it, s = √(u / v): both shares become √(u v). Where one of them is zero, or their
    range is not finite, s = 1.

    Parameters
    ----------
    before : Sequence[np.ndarray]
        Of each tensor that is divided and has one range for all channels, the largest magnitudes, (channels,), >= 0.
    after : np.ndarray | None
        (channels,), largest magnitudes of the weights that are multiplied, >= 0; None where each channel has a range of
        its own.

    Returns
    -------
    np.ndarray
        Factors > 0, float64 (channels,).

    Examples
    --------
    >>> equalizing_factors([np.array([8.0, 2.0])], np.array([1.0, 1.0])).tolist()
    [1.0, 0.5]
    """
    reach = np.max([_shares(values) for values in before], axis=0)
    read = np.ones_like(reach) if after is None else _shares(after)
    known = (reach > 0) & (read > 0)
    factors = np.ones(reach.shape)
    factors[known] = np.sqrt(reach[known] / read[known]) if after is not None else reach[known]
    return factors


def within_clips(factors: np.ndarray, largest: np.ndarray, clip: float) -> np.ndarray:
    """Factors with which a clip of all channels at one value still clips what it did, and nothing else.

    A channel that comes near the clip keeps its values (s = 1); all others stay below it: s >= MARGIN · largest / clip.
    The factors are scaled so that those of the first kind change as little as they can.

    Parameters
    ----------
    factors : np.ndarray
        (channels,), the factors s wished for, > 0.
    largest : np.ndarray
        (channels,), largest observed values behind the clip, 0 … clip.
    clip : float
        Where values are clipped, > 0.
    """
    near = MARGIN * largest >= clip
    middle = np.exp(np.log(factors[near if near.any() else slice(None)]).mean())
    smallest = np.maximum(MARGIN * largest / clip, SMALLEST_FACTOR)
    return np.where(near, 1.0, np.clip(factors / middle, smallest, LARGEST_FACTOR))


def _shares(values: np.ndarray) -> np.ndarray:
    largest = values.max(initial=0.0)
    return values / largest if 0 < largest < np.inf else np.zeros(values.shape)

"""DMQ balancer: moves range between activations and weights, for each input channel.

References
----------
G. Xiao et al., "SmoothQuant: accurate and efficient post-training quantization for large language models", ICML 2023,
equation 4.
"""

from __future__ import annotations

import numpy as np

EPSILON = float(np.finfo(np.float32).eps)
_SMALLEST = np.nextafter(np.float32(EPSILON), np.float32(1))
_LARGEST = np.nextafter(np.float32(1 / EPSILON), np.float32(1))


def balance_factors(
    activation_absolute_maximum: np.ndarray, weight_absolute_maximum: np.ndarray, migration_strength: float = 0.5
) -> np.ndarray:
    """The factors s by which activations are divided and weights multiplied.

    A channel with a = max|x| and w = max|weight| gets s = a^m / w^(1-m), which leaves (a w)^(1-m) as the largest
    activation and (a w)^m as the largest weight. A maximum of less than the float32 epsilon times
    the largest of its side counts as zero:

    - both sides zero: s = 1;
    - only the weights zero: s = a / A with A the largest a/s among the channels where neither side is zero, so that
      this channel's activations reach just as far as the largest balanced ones, and neither widen the range nor
      leave part of it empty;
    - only the activations zero: s = W / w with W the largest w*s among those channels, by the same reasoning;
    - no channel with two sides that are not zero, so that A and W do not exist: s = 1.

    Finally every factor is clipped to the open interval (epsilon, 1 / epsilon).

    Parameters
    ----------
    activation_absolute_maximum : np.ndarray
        (channels,), max|x| of each input channel over the calibration data; finite, >= 0.
    weight_absolute_maximum : np.ndarray
        (channels,), max|weight| over the layer's weights that read the channel; finite, >= 0.
    migration_strength : float
        The exponent m, 0 … 1: how much of the activations' range moves to the weights. A configuration allows
        0.2 … 0.8.

    Returns
    -------
    np.ndarray
        The factors s, float32 (channels,).

    Raises
    ------
    ValueError
        The arrays are not of one dimension and one shape, values are negative or not finite, or m is out of range.
    """
    activations = np.asarray(activation_absolute_maximum, np.float64)
    weights = np.asarray(weight_absolute_maximum, np.float64)
    if activations.ndim != 1 or activations.shape != weights.shape:
        raise ValueError(f"maxima of shapes {activations.shape} and {weights.shape}, not of one value a channel")
    for side in (activations, weights):
        if not (np.isfinite(side).all() and (side >= 0).all()):
            raise ValueError("the maxima must be finite and not negative")
    if not 0 <= migration_strength <= 1:
        raise ValueError(f"migration_strength {migration_strength}; allowed is 0 to 1")

    active, weighty = (side > EPSILON * side.max(initial=0.0) for side in (activations, weights))
    both = active & weighty
    factors = np.ones(activations.shape)
    factors[both] = activations[both] ** migration_strength / weights[both] ** (1 - migration_strength)
    factors = np.clip(factors, _SMALLEST, _LARGEST)
    if both.any():
        largest_activation = (activations[both] / factors[both]).max()
        largest_weight = (weights[both] * factors[both]).max()
        only_activations, only_weights = active & ~weighty, weighty & ~active
        factors[only_activations] = activations[only_activations] / largest_activation
        factors[only_weights] = largest_weight / weights[only_weights]
    return np.clip(factors, _SMALLEST, _LARGEST).astype(np.float32)

"""The scales of a quantized network, back from the numbers that the deployable file holds.

The file has 1/scale_d and scale_d * scale_w, each rounded to float32. A scale that comes back from them unchanged is
called representable; of any two neighbouring float32 numbers at least one is.
"""

from __future__ import annotations

import numpy as np


def activation_scale(inverse: float) -> np.float32:
    """scale_d from the ``scale`` of an AscendQuant."""
    with np.errstate(over="ignore", divide="ignore"):
        return np.float32(1) / np.float32(inverse)


def weight_scale(product: np.ndarray, scale_d: float | np.floating) -> np.ndarray:
    """scale_w (float32) from the scale in deq_scale and scale_d (for several activations, the product of theirs)."""
    with np.errstate(over="ignore", divide="ignore", under="ignore"):
        return (np.asarray(product, np.float64) / np.float64(scale_d)).astype(np.float32)


def exact_activation_scale(scale: np.float32) -> np.float32:
    """The scale itself or its neighbour: the one that its float32 reciprocal gives back."""
    with np.errstate(over="ignore"):
        back = activation_scale(np.float32(1) / np.float32(scale))
    return back if np.isfinite(back) and back > 0 else np.float32(scale)


def exact_weight_scale(scale: np.ndarray, scale_d: np.float32) -> np.ndarray:
    """Each scale itself or its neighbour: the one that its float32 product with ``scale_d`` gives back."""
    with np.errstate(over="ignore", under="ignore"):
        back = weight_scale(np.asarray(scale, np.float32) * np.float32(scale_d), scale_d)
    return np.where(np.isfinite(back) & (back > 0), back, np.asarray(scale, np.float32))

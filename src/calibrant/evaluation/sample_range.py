"""Samples of a batch; an input without axes belongs to all of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def sample_count(fed: Mapping[int, np.ndarray]) -> int:
    """Number of samples of a batch, inputs by position; 1 where no input has an axis."""
    return max((len(values) for values in fed.values() if np.ndim(values)), default=1)


def sample_range(fed: Mapping[int, np.ndarray], start: int, size: int) -> dict[int, np.ndarray]:
    """``size`` samples of a batch from ``start`` on."""
    return {at: values[start : start + size] if np.ndim(values) else values for at, values in fed.items()}

"""Samples of a batch; an input without axes belongs to all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np


def sample_count(fed: Mapping[int, np.ndarray]) -> int:
    """Number of samples of a batch, inputs by position; 1 where no input has an axis."""
    return max((len(values) for values in fed.values() if np.ndim(values)), default=1)


def sample_range(fed: Mapping[int, np.ndarray], start: int, size: int) -> dict[int, np.ndarray]:
    """``size`` samples of a batch from ``start`` on."""
    return {at: values[start : start + size] if np.ndim(values) else values for at, values in fed.items()}


def whole_pieces(fed: Mapping[int, np.ndarray], size: int) -> Iterator[tuple[dict[int, np.ndarray], int]]:
    """Pieces of exactly ``size`` samples and how many of each count: the last is filled up with its last sample."""
    total = sample_count(fed)
    for start in range(0, total, size):
        piece, kept = sample_range(fed, start, size), min(size, total - start)
        filled = {
            at: np.concatenate([values, np.repeat(values[-1:], size - kept, axis=0)]) if np.ndim(values) else values
            for at, values in piece.items()
        }
        yield (filled if kept < size else piece), kept

"""NUQ by trying everything, and Lloyd's iteration as the ordinary way to cluster."""

from itertools import combinations

import numpy as np


def squared_error(weights, scale, levels):
    """Every weight with the level of ``levels`` that is nearest; weights are (weights of one channel, channels)."""
    distance = weights[..., None].astype(np.float64) - np.array(levels) * scale.astype(np.float64)[:, None]
    return (distance**2).min(axis=-1).sum()


def least_squared_error(weights, scale, num_steps, lowest, highest):
    """The least error over all sets of at most num_steps of the levels lowest … highest."""
    every = range(lowest, highest + 1)
    return min(
        squared_error(weights, scale, chosen)
        for size in range(1, num_steps + 1)
        for chosen in combinations(every, size)
    )


def lloyd(weights, scale, num_steps, generator, lowest=-128, highest=127, rounds=200):
    """Error after Lloyd's iteration from random distinct levels; a centre is the integer nearest its cluster's mean."""
    position = (weights / scale.astype(np.float64)).ravel()
    importance = np.broadcast_to(scale.astype(np.float64) ** 2, weights.shape).ravel()
    levels = np.sort(generator.choice(np.arange(lowest, highest + 1), num_steps, replace=False))
    for _ in range(rounds):
        cluster = np.searchsorted((levels[1:] + levels[:-1]) / 2, position)
        mass = np.bincount(cluster, importance, len(levels))
        mean = np.bincount(cluster, importance * position, len(levels)) / np.maximum(mass, 1e-300)
        moved = np.unique(np.where(mass > 0, np.clip(np.rint(mean), lowest, highest), levels))
        if np.array_equal(moved, levels):
            break
        levels = moved
    cluster = np.searchsorted((levels[1:] + levels[:-1]) / 2, position)
    return (importance * (position - levels[cluster]) ** 2).sum()

"""HFMG in plain Python: the walk bin by bin, the score by splitting every bin into many points."""

import numpy as np

from reference import ifmr


def walk(counts):
    """The ranges (start, end) of bins that are visited."""
    part = max(sum(counts) / 100_000, 1)
    start, end = 0, len(counts)
    visited = [(start, end)]
    while end - start > len(counts) / 4 and end - start > 1:
        left, left_held = 0, 0
        while left_held < part and left < end - start - 1:
            left_held += counts[start + left]
            left += 1
        right, right_held = 0, 0
        while right_held < part and right < end - start - 1:
            right_held += counts[end - 1 - right]
            right += 1
        if left > right or (left == right and left_held < right_held):
            start += left
        else:
            end -= right
        visited.append((start, end))
    return visited


def score(counts, low, width, scale, offset, points=200):
    """Mean squared error of values spread evenly inside the bins."""
    places = low + width * (np.arange(len(counts) * points) + 0.5) / points
    codes = np.clip(np.rint(places / float(scale)) + offset, -128, 127)
    return np.average((places - (codes - offset) * float(scale)) ** 2, weights=np.repeat(counts, points))


def search(values, num_of_bins, asymmetric=True):
    """The best visited range: (error, low, high, scale, offset)."""
    values = np.asarray(values, np.float64).reshape(-1)
    counts, edges = np.histogram(values, num_of_bins)
    best = None
    for start, end in walk(counts.tolist()):
        scale, offset = ifmr.factors(edges[start], edges[end], asymmetric=asymmetric)
        error = score(counts, edges[0], edges[1] - edges[0], scale, offset)
        if best is None or error < best[0]:
            best = (error, edges[start], edges[end], scale, offset)
    return best

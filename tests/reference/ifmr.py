"""IFMR as its specification words it: both ratios in a double loop, the error over the raw values."""

import numpy as np

from reference import percentile


def factors(low, high, bits=8, asymmetric=True):
    """Scale (float32) and offset of one range."""
    low, high = min(low, 0.0), max(high, 0.0)
    if asymmetric:
        scale = np.float32((high - low) / (2**bits - 1))
    elif abs(high) >= abs(low):
        scale = np.float32(abs(high) / (2 ** (bits - 1) - 1))
    else:
        scale = np.float32(abs(low) / 2 ** (bits - 1))
    if scale < np.finfo(np.float32).eps:
        return np.float32(1), -(2 ** (bits - 1)) if asymmetric else 0
    offset = round(-(2 ** (bits - 1)) - low / float(scale)) if asymmetric else 0
    return scale, min(max(offset, -(2 ** (bits - 1))), 2 ** (bits - 1) - 1)


def mean_squared_error(values, scale, offset, bits=8):
    """Between the values and what quantization leaves of them; float32 arithmetic, errors summed in float64."""
    values = np.asarray(values, np.float32).reshape(-1)
    inverse = np.float32(1) / np.float32(scale)
    codes = np.clip(np.rint(values * inverse) + np.float32(offset), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    left = (codes - np.float32(offset)) * np.float32(scale)
    return float(np.mean((values.astype(np.float64) - left.astype(np.float64)) ** 2))


def search(values, ratios, max_percentile="0.999999", min_percentile="0.999999", asymmetric=True, bits=8):
    """The least error over all candidates, with its scale and offset."""
    high = max(percentile.from_top(values, max_percentile), 0.0)
    low = min(percentile.from_bottom(values, min_percentile), 0.0)
    best = None
    if asymmetric:
        ranges = [(low * r1, high * r2) for r1 in (ratios if low else [1]) for r2 in (ratios if high else [1])]
    else:
        ranges = [(low * r, high * r) for r in ratios]
    for start, end in ranges:
        scale, offset = factors(start, end, bits, asymmetric)
        error = mean_squared_error(values, scale, offset, bits)
        if best is None or error < best[0]:
            best = (error, scale, offset)
    return best

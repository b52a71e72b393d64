"""ARQ one weight at a time, straight from the formulas of the specification."""

import math

import numpy as np


def scale_of(values, bits):
    highest = max(max(values), np.float32(0))
    lowest = min(min(values), np.float32(0))
    scale = np.float32(highest / (2 ** (bits - 1) - 1)) if highest >= -lowest else np.float32(-lowest / 2 ** (bits - 1))
    return max(scale, np.finfo(np.float32).tiny) if highest or lowest else None


def code_of(value, scale, bits):
    product = np.float32(value) * np.float32(np.float32(1) / scale)
    return min(max(round_half_even(product), -(2 ** (bits - 1))), 2 ** (bits - 1) - 1)


def round_half_even(value):
    below = math.floor(value)
    if float(value) - below == 0.5:
        return below + below % 2
    return math.floor(float(value) + 0.5)


def quantize(weights, bits, channel_axes):
    """Scales in C order of the channels, and the int8 codes in the shape of the weights."""
    channels = {}
    for index in np.ndindex(*weights.shape):
        channels.setdefault(tuple(index[axis] for axis in channel_axes), []).append(index)
    codes = np.zeros(weights.shape, np.int8)
    scales = []
    for channel in sorted(channels):
        values = [weights[index] for index in channels[channel]]
        scales.append(scale_of(values, bits))
        for index in channels[channel]:
            codes[index] = code_of(weights[index], scales[-1], bits) if scales[-1] else 0
    largest = max((scale for scale in scales if scale), default=np.float32(1))
    return np.array([scale or largest for scale in scales], np.float32), codes

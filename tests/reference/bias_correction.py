"""Outputs of convolutions, position by position, channels last: what the mean input patch is a shortcut for."""

import itertools

import numpy as np


def padding_before(length, count, window):
    """Zeros in front of an axis that is walked over in ``count`` steps."""
    if window.padding == "SAME":
        return max((count - 1) * window.stride + (window.size - 1) * window.dilation + 1 - length, 0) // 2
    return 0 if window.padding == "VALID" else window.padding[0]


def outputs_along(length, window):
    """Number of output positions of a convolution along an axis."""
    if window.padding == "SAME":
        return -(-length // window.stride)
    padded = length + (0 if window.padding == "VALID" else sum(window.padding))
    return max((padded - (window.size - 1) * window.dilation - 1) // window.stride + 1, 0)


def convolution(x, kernel, windows):
    """[N, *spatial, in] with kernel [*sizes, in, out] → [N, *positions, out], all in float64."""
    lengths = x.shape[1:-1]
    counts = [outputs_along(length, window) for length, window in zip(lengths, windows, strict=True)]
    result = np.zeros((len(x), *counts, kernel.shape[-1]))
    for position in itertools.product(*map(range, counts)):
        for offset in itertools.product(*(range(window.size) for window in windows)):
            read = [
                p * window.stride + o * window.dilation - padding_before(length, count, window)
                for p, o, window, length, count in zip(position, offset, windows, lengths, counts, strict=True)
            ]
            if all(0 <= place < length for place, length in zip(read, lengths, strict=True)):
                result[(slice(None), *position)] += x[(slice(None), *read)].astype(np.float64) @ kernel[offset]
    return result


def transposed_convolution(x, kernel, windows, counts):
    """[N, *spatial, in] with kernel [*sizes, in, out], spread over ``counts`` output positions an axis."""
    lengths = x.shape[1:-1]
    result = np.zeros((len(x), *counts, kernel.shape[-1]))
    for place in itertools.product(*map(range, lengths)):
        for offset in itertools.product(*(range(window.size) for window in windows)):
            written = [
                i * window.stride + o * window.dilation - padding_before(count, length, window)
                for i, o, window, length, count in zip(place, offset, windows, lengths, counts, strict=True)
            ]
            if all(0 <= position < count for position, count in zip(written, counts, strict=True)):
                result[(slice(None), *written)] += x[(slice(None), *place)].astype(np.float64) @ kernel[offset]
    return result

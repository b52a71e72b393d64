"""Sequential rounding with error feedback for one output: all rows that are still free are solved for again."""

import itertools

import numpy as np

from reference.bias_correction import outputs_along, padding_before


def nearest_level(value, levels):
    """The nearest of the levels, the lower one half-way."""
    return min(levels, key=lambda level: (abs(value - level), level))


def rounded_one_by_one(steps, moments, levels):
    """After each row is rounded, the free rows take the values that make the error of the output least."""
    order = sorted(range(len(steps)), key=lambda row: -moments[row, row])
    codes, free, wanted = {}, list(order), np.array(steps, np.float64)
    for row in order:
        codes[row] = nearest_level(wanted[row], levels)
        free.remove(row)
        if free:
            done = list(codes)
            error = np.array([steps[place] - codes[place] for place in done])
            change = np.linalg.solve(moments[np.ix_(free, free)], moments[np.ix_(free, done)] @ error)
            wanted[free] = steps[free] + change
    return np.array([codes[row] for row in range(len(steps))])


def patches(x, windows):
    """[N, *spatial, in] → every patch, [N * positions, offsets, in] in float64, zeros for padding."""
    lengths = x.shape[1:-1]
    counts = [outputs_along(length, window) for length, window in zip(lengths, windows, strict=True)]
    rows = []
    for sample, position in itertools.product(x, itertools.product(*map(range, counts))):
        row = []
        for offset in itertools.product(*(range(window.size) for window in windows)):
            read = [
                p * window.stride + o * window.dilation - padding_before(length, count, window)
                for p, o, window, length, count in zip(position, offset, windows, lengths, counts, strict=True)
            ]
            inside = all(0 <= place < length for place, length in zip(read, lengths, strict=True))
            row.append(sample[tuple(read)].astype(np.float64) if inside else np.zeros(x.shape[-1]))
        rows.append(row)
    return np.array(rows)

"""How many of a quantizer's codes the values use, which the mean squared error does not show.

If one value a thousand times larger than the others sets the range, the signal-to-noise ratio still looks fine, because
most of the signal is that value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.algorithms.histogram import Histogram

MOST_VALUES_SHARE = 0.999
FEWEST_CODES = 16
FEWEST_LEVELS = 64


@dataclass(frozen=True)
class CodeUse:
    """The use that values make of the codes.

    Parameters
    ----------
    codes : int
        The smallest number of codes that hold MOST_VALUES_SHARE of the non-zero values; 0 if all values are zero.
    zeroed : float
        Share, 0...1, of the non-zero values that get the code of zero.
    levels : int
        Number of non-zero values that the histogram distinguishes.
    minimum, maximum : float
        The smallest and the largest value.
    """

    codes: int
    zeroed: float
    levels: int
    minimum: float
    maximum: float

    @property
    def is_constant(self) -> bool:
        """Whether all values are equal."""
        return self.minimum == self.maximum

    @property
    def is_poor(self) -> bool:
        """Whether a few large values set the range, so that the others are hardly distinguished."""
        return self.codes < FEWEST_CODES and self.levels >= FEWEST_LEVELS


def code_use(histogram: Histogram, quantizer: Quantizer) -> CodeUse:
    """The use of codes by the values of a histogram, each taken at the mean of its bin.

    Raises
    ------
    ValueError
        The histogram has seen no values.
    """
    means, counts = histogram.bins()
    kept = means != 0
    codes = quantizer.quantize(means[kept]).astype(np.int64) - quantizer.lowest
    held = np.sort(np.bincount(codes, counts[kept], minlength=1))[::-1].cumsum()
    total = held[-1]
    if not total:
        return CodeUse(0, 0.0, 0, histogram.minimum, histogram.maximum)
    zeroed = counts[kept][codes == quantizer.offset - quantizer.lowest].sum() / total
    most = int(np.searchsorted(held, MOST_VALUES_SHARE * total)) + 1
    return CodeUse(most, float(zeroed), int(kept.sum()), histogram.minimum, histogram.maximum)

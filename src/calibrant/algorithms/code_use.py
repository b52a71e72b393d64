"""How much of a quantizer's codes the values really use: what the mean squared error does not show.

One value a thousand times larger than the others sets the range, and the ratio of signal to noise still looks fine:
most of the signal is that value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.algorithms.histogram import Histogram

MOST = 0.999
FEWEST_CODES = 16
FEWEST_LEVELS = 64


@dataclass(frozen=True)
class CodeUse:
    """The codes that values get.

    Parameters
    ----------
    codes : the least number of codes that hold MOST of the values that are not zero; 0 where all values are zero.
    zeroed : share in 0...1 of the values that are not zero and get the code of zero.
    levels : how many values there are that the histogram distinguishes, zero aside.
    minimum, maximum : the extremes of the values.
    """

    codes: int
    zeroed: float
    levels: int
    minimum: float
    maximum: float

    @property
    def is_constant(self) -> bool:
        """Whether there is one value only."""
        return self.minimum == self.maximum

    @property
    def is_poor(self) -> bool:
        """Whether a few large values set the range, and the many others are hardly distinguished."""
        return self.codes < FEWEST_CODES and self.levels >= FEWEST_LEVELS


def code_use(histogram: Histogram, quantizer: Quantizer) -> CodeUse:
    """What codes the values of a histogram get, each taken at the mean of its bin.

    Raises
    ------
    ValueError : the histogram has seen no values.
    """
    means, counts = histogram.bins()
    kept = means != 0
    codes = quantizer.quantize(means[kept]).astype(np.int64) - quantizer.lowest
    held = np.sort(np.bincount(codes, counts[kept], minlength=1))[::-1].cumsum()
    total = held[-1]
    if not total:
        return CodeUse(0, 0.0, 0, histogram.minimum, histogram.maximum)
    zeroed = counts[kept][codes == quantizer.offset - quantizer.lowest].sum() / total
    most = int(np.searchsorted(held, MOST * total)) + 1
    return CodeUse(most, float(zeroed), int(kept.sum()), histogram.minimum, histogram.maximum)

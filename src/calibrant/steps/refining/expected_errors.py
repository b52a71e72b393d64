"""The error at a network's outputs that quantizers are expected to make, from gradients of the outputs.

Quantizing a tensor changes its values by rounding and by clipping. What the outputs then change by is, for small
changes, the sum of the changes times the gradients. Rounding errors are as good as independent and evenly spread over a
step, so of them only the sum of squared gradients is needed; zero is never rounded. Of clipping, only the values beyond
an end count, and these are summed up for a grid of ends. So after one look at a tensor the error of any range is known.

All outputs of a sample become one number with random signs, whose square is in the mean the sum of the squared changes
(the estimator of a trace by random signs; M. F. Hutchinson, 1990). Signs are drawn SUMS times from a fixed seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import repeat

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.algorithms.kernels import kernels
from calibrant.calibration.observer import available_cpus
from calibrant.progress import LOG, ProgressFn
from calibrant.steps.refining.float_runs import FloatRuns
from calibrant.steps.refining.output_errors import Piece, output_sizes
from calibrant.steps.refining.range_search import NARROWEST, STEP, WIDEST, ClippingRange

SUMS = 2
SEED = 0


class ExpectedErrors:
    """Sizes of errors at the outputs of a float graph, expected with one quantizer's tensors quantized.

    Parameters
    ----------
    runs : FloatRuns
        Of the float network, by the activations of each quantizer; for several tensors their squared errors are added.
    ranges : Sequence[ClippingRange]
        The present range of each; others may be 0.1 to 1.75 times as wide.
    pieces : Sequence[Piece]
        The samples.
    reference : Sequence[Sequence[np.ndarray]]
        The float outputs for each piece, before a final Softmax.
    track : ProgressFn
        Shows progress.

    Raises
    ------
    ModelError
        TensorFlow has no kernel for a gradient.
    """

    def __init__(
        self,
        runs: FloatRuns,
        ranges: Sequence[ClippingRange],
        pieces: Sequence[Piece],
        reference: Sequence[Sequence[np.ndarray]],
        track: ProgressFn,
    ):
        self._units: dict[int, list[_TensorErrors]] = {
            place: [_TensorErrors(ranges[place]) for _ in unit] for place, unit in enumerate(runs.exchanges)
        }
        self._names = [unit[0].tensor for unit in runs.exchanges]
        sizes = np.sqrt(output_sizes(reference, pieces))
        random = np.random.default_rng(SEED)
        for piece, outputs in track(list(zip(pieces, reference, strict=True)), "refining", len(pieces)):
            weights = [[_signs(random, *pair) for pair in zip(outputs, sizes, strict=True)] for _ in range(SUMS)]
            found = runs.gradients(piece, weights)
            places = list(self._units)
            with ThreadPoolExecutor(available_cpus()) as pool:  # the loops in C leave Python to others
                list(pool.map(self._take, places, [found[place] for place in places], repeat(piece.samples)))

    def _take(self, place: int, found: Sequence[tuple[np.ndarray, list[np.ndarray]] | None], samples: int) -> None:
        """Take in what was found of the tensors of a unit.

        One without gradients or samples, or with values that are not finite, such as masks, is left out for good.
        """
        for tensor, known in zip(self._units[place], found, strict=True):
            if known is None or not known[0].ndim or len(known[0]) % samples:
                del self._units[place]
                return
            with np.errstate(over="ignore"):
                values, *slopes = (
                    array.reshape(samples, -1).astype(np.float32, copy=False) for array in (known[0], *known[1])
                )
            if not tensor.add(values, slopes):
                LOG.debug("refine: values of %s are not finite, its range stays", self._names[place])
                del self._units[place]
                return

    @property
    def known(self) -> frozenset[int]:
        """The units whose errors can be estimated."""
        return frozenset(self._units)

    def measure(
        self, candidates: Mapping[int, Sequence[Quantizer]], samples: int | None = None
    ) -> dict[int, np.ndarray]:
        """Number of a unit → sizes of its candidates' errors, float64 [candidates, samples].

        Parameters
        ----------
        candidates : Mapping[int, Sequence[Quantizer]]
            Number of a unit → quantizers.
        samples : int | None
            The first samples only; None: all.
        """
        squares = {
            place: sum(tensor.squares(quantizers) for tensor in self._units[place])
            for place, quantizers in candidates.items()
        }
        return {place: np.sqrt(each)[:, :samples] for place, each in squares.items()}


class _TensorErrors:
    """What quantizing one tensor does to the weighted sums of the outputs."""

    def __init__(self, present: ClippingRange):
        low, high = present.quantizer.range
        self._above, self._below = _ends(high), _ends(-low)
        self._edges = np.concatenate([-self._below[:0:-1], self._above]).astype(np.float32)
        self._parts: list[tuple[np.ndarray, ...]] = []

    def add(self, values: np.ndarray, gradients: Sequence[np.ndarray]) -> bool:
        """Take in samples, float32: values [samples, elements], and gradients by them for each of the two sums.

        False where a value is not finite; gradients that are not count as zero.
        """
        first, second = gradients
        table = kernels().sums_between(values, (first, second), self._edges)
        if not np.isfinite(table).all():
            return False
        slopes = table[..., 0].sum(axis=2)
        above, below = table[:, :, len(self._below) :, 1:], table[:, :, : len(self._below), 1:]
        self._parts.append((slopes, _lost(above, self._above), _lost(below[:, :, ::-1], -self._below)))
        return True

    @cached_property
    def _whole(self) -> tuple[np.ndarray, ...]:
        """Squared gradients [samples], and what is lost above and below with each end [sums, samples, ends]."""
        slopes, above, below = (np.concatenate(parts, axis=1) for parts in zip(*self._parts, strict=True))
        return slopes.mean(axis=0), above, below

    def squares(self, quantizers: Sequence[Quantizer]) -> np.ndarray:
        """Mean over the sums of the expected squared changes, [quantizers, samples], once all samples are there."""
        slopes, above, below = self._whole
        scales = np.array([quantizer.scale for quantizer in quantizers], float)
        low, high = np.array([quantizer.range for quantizer in quantizers]).T
        rounded = np.square(scales)[:, None] / 12 * slopes
        clipped = _at(high, self._above, above) + _at(-low, self._below, below)
        return rounded + np.square(clipped).mean(axis=0)


def _ends(present: float) -> np.ndarray:
    """The grid of ends on one side of zero, as float32 holds them; the first is 0."""
    factors = STEP ** np.arange(NARROWEST, WIDEST + 1, dtype=float)
    ends = np.array([0.0, *(present * factors)]) if present else np.zeros(1)
    return np.minimum(ends, np.finfo(np.float32).max).astype(np.float32).astype(float)


def _lost(table: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """What clipping at each end does, from sums over intervals of gradients, and of those times values."""
    beyond = table[:, :, ::-1].cumsum(axis=2)[:, :, ::-1]
    return ends * beyond[..., 0] - beyond[..., 1]


def _at(wanted: np.ndarray, ends: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """The changes with some ends, [sums, ends, samples]: between those of the grid, in proportion."""
    last = len(ends) - 1
    above = np.minimum(np.searchsorted(ends, wanted), last)
    below = np.maximum(above - 1, 0)
    width = ends[above] - ends[below]
    share = np.divide(wanted - ends[below], width, out=np.ones(len(wanted)), where=width > 0).clip(0, 1)
    return np.swapaxes(lost[:, :, below] * (1 - share) + lost[:, :, above] * share, 1, 2)


def _signs(random: np.random.Generator, output: np.ndarray, size: float) -> np.ndarray:
    """Weights of an output: random signs, relative to its size."""
    signs = random.choice(np.array([-1, 1], output.dtype), output.shape)
    return signs / np.asarray(size, output.dtype) if size else np.zeros_like(signs)

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
from contextlib import closing

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.graph.gradients import OutputGradients
from calibrant.graph.graph import Graph
from calibrant.graph.logits import compared_tensors
from calibrant.progress import LOG, ProgressFn, no_progress
from calibrant.quantized_network import QuantizedInput
from calibrant.steps.output_errors import Piece, output_sizes, with_candidates
from calibrant.steps.range_search import NARROWEST, STEP, WIDEST, ClippingRange

SUMS = 2
SEED = 0


class ExpectedErrors:
    """Sizes of errors at the outputs of a float graph, expected with one quantizer's tensors quantized.

    Parameters
    ----------
    graph : Graph
        The float network.
    units : Sequence[Sequence[QuantizedInput]]
        The activations of each quantizer; for several tensors their squared errors are added.
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
        The outputs have no gradients.
    """

    def __init__(
        self,
        graph: Graph,
        units: Sequence[Sequence[QuantizedInput]],
        ranges: Sequence[ClippingRange],
        pieces: Sequence[Piece],
        reference: Sequence[Sequence[np.ndarray]],
        track: ProgressFn = no_progress,
    ):
        changed, exchanges = with_candidates(graph, units)
        self._units: dict[int, list[_TensorErrors]] = {
            place: [_TensorErrors(ranges[place]) for _ in unit] for place, unit in enumerate(exchanges)
        }
        self._names = [unit[0].tensor for unit in exchanges]
        tensors = [exchange.read_errors for unit in exchanges for exchange in unit]
        with closing(OutputGradients(changed, tensors, compared_tensors(graph))) as gradients:
            sizes = np.sqrt(output_sizes(reference, pieces))
            random = np.random.default_rng(SEED)
            for piece, outputs in track(list(zip(pieces, reference, strict=True)), "refining", len(pieces)):
                weights = [[_signs(random, *pair) for pair in zip(outputs, sizes, strict=True)] for _ in range(SUMS)]
                found = gradients(piece.batch, weights)
                for place in list(self._units):
                    self._take(place, [found.get(exchange.read_errors) for exchange in exchanges[place]], piece.samples)

    def _take(self, place: int, found: Sequence[tuple[np.ndarray, list[np.ndarray]] | None], samples: int) -> None:
        """Take in what was found of the tensors of a unit.

        One without gradients or samples, or with values that are not finite, such as masks, is left out for good.
        """
        for tensor, known in zip(self._units[place], found, strict=True):
            if known is None or not known[0].ndim or len(known[0]) % samples:
                del self._units[place]
                return
            if not np.isfinite(known[0]).all():
                LOG.debug("refine: values of %s are not finite, its range stays", self._names[place])
                del self._units[place]
                return
            values, *slopes = (array.reshape(samples, -1) for array in (known[0], *known[1]))
            tensor.add(values, [np.nan_to_num(each, posinf=0, neginf=0) for each in slopes])

    @property
    def known(self) -> frozenset[int]:
        """The units whose errors can be told."""
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
        self._below, self._above = _Clipped(-low), _Clipped(high)
        self._slopes: list[np.ndarray] = []

    def add(self, values: np.ndarray, gradients: Sequence[np.ndarray]) -> None:
        """Take in samples: values [samples, elements], and gradients by them for each sum."""
        moves = values != 0
        self._slopes.append(np.stack([np.einsum("ij,ij,ij->i", each, each, moves, dtype=float) for each in gradients]))
        self._above.add(values, gradients)
        self._below.add(-values, [-each for each in gradients])

    def squares(self, quantizers: Sequence[Quantizer]) -> np.ndarray:
        """Mean over the sums of the expected squared changes, [quantizers, samples]."""
        scales = np.array([quantizer.scale for quantizer in quantizers], float)
        low, high = np.array([quantizer.range for quantizer in quantizers]).T
        rounded = np.square(scales)[:, None] / 12 * np.concatenate(self._slopes, axis=1).mean(axis=0)
        return rounded + np.square(self._above.lost(high) + self._below.lost(-low)).mean(axis=0)


class _Clipped:
    """What clipping at one end of a range does to the weighted sums, as a function of that end; none is negative."""

    def __init__(self, present: float):
        factors = STEP ** np.arange(NARROWEST, WIDEST + 1, dtype=float)
        self._ends = np.array([0.0, *(present * factors)]) if present else np.zeros(1)
        self._lost: list[np.ndarray] = []

    def add(self, values: np.ndarray, gradients: Sequence[np.ndarray]) -> None:
        """Take in the values above 0, [samples, elements], and the gradients by them for each sum."""
        number, samples = len(self._ends), len(values)
        if values.max(initial=0) <= 0:
            self._lost.append(np.zeros((len(gradients), number, samples)))
            return
        positive, least = np.maximum(values, 0), self._ends[min(1, number - 1)]
        places = np.flatnonzero(values > least)
        beyond = values.ravel()[places].astype(float)
        powers = np.log(beyond / least) / np.log(STEP) if least else np.zeros(len(beyond))
        reached = np.minimum(powers, number - 2).astype(int) + 1  # the last end that a value is beyond
        cells = places // values.shape[1] * number + reached
        found = []
        for gradient in gradients:
            slopes = gradient.ravel()[places].astype(float)
            sums, products = (
                np.bincount(cells, weights, samples * number).reshape(samples, number)[:, ::-1].cumsum(axis=1)[:, ::-1]
                for weights in (slopes, slopes * beyond)
            )
            lost = self._ends * sums - products
            lost[:, 0] = -np.einsum("ij,ij->i", positive, gradient, dtype=float)
            found.append(lost.T)
        self._lost.append(np.stack(found))

    def lost(self, ends: np.ndarray) -> np.ndarray:
        """The changes with some ends, [sums, ends, samples]: between those of the grid, in proportion."""
        lost = np.concatenate(self._lost, axis=2)
        last = len(self._ends) - 1
        above = np.clip(np.searchsorted(self._ends, ends), 0, last)
        below = np.maximum(above - 1, 0)
        width = self._ends[above] - self._ends[below]
        share = np.divide(ends - self._ends[below], width, out=np.ones(len(ends)), where=width > 0).clip(0, 1)[:, None]
        return lost[:, below] * (1 - share) + lost[:, above] * share


def _signs(random: np.random.Generator, output: np.ndarray, size: float) -> np.ndarray:
    """Weights of an output: random signs, relative to its size."""
    signs = random.choice(np.array([-1, 1], output.dtype), output.shape)
    return signs / np.asarray(size, output.dtype) if size else np.zeros_like(signs)

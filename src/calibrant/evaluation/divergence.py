"""How far two models' numbers part, counted in steps of a quantizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from calibrant.algorithms.sqnr import sqnr_db

# float32 leaves a difference of exactly one step a little off.
ROUNDING = 1e-3
MOST_OUTPUTS_SHARE, STEPS = 0.9, 50
"""Where no step is known, one is this part of how far the largest output is above most others; those far below, as of
classes that are masked, do not count."""


@dataclass
class TensorDivergence:
    """Differences of one pair of tensors over batches.

    Parameters
    ----------
    step : float | None
        What one step is in real units, > 0; None for numbers that are not counted in steps.
    classes : int | None
        How many numbers are the scores of one position: 1 where there is nothing to choose from; None: all of a sample.
    """

    step: float | None
    classes: int | None = None
    values: int = field(default=0, init=False)
    within: int = field(default=0, init=False)
    equal: int = field(default=0, init=False)
    largest: float = field(default=0.0, init=False)
    samples: int = field(default=0, init=False)
    predicted: int = field(default=0, init=False)
    """Samples in which something is chosen."""
    same: float = field(default=0, init=False)
    alike: float = field(default=0, init=False)
    reach: float = field(default=0.0, init=False)
    whole: bool = field(default=False, init=False)
    """Whether values are whole numbers, truth values or strings, such as those of classes: one is equal or not."""
    lost: int = field(default=0, init=False)
    """Values that are finite in the first alone."""
    signal: float = field(default=0.0, init=False)
    noise: float = field(default=0.0, init=False)

    def update(self, first: np.ndarray, second: np.ndarray) -> None:
        """Take in a batch of both, [samples, values]; what is not finite in one of them alone is infinitely far."""
        self.whole = np.asarray(first).dtype.kind in "iubO"
        if np.asarray(first).dtype == object:
            first, second = np.zeros(np.shape(first)), np.not_equal(first, second)
        first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
        same = (first == second) | (np.isnan(first) & np.isnan(second))
        both = np.isfinite(first) & np.isfinite(second)
        difference = np.where(both, np.abs(np.subtract(first, second, where=both, out=np.zeros(first.shape))), np.inf)
        steps = np.where(same, 0.0, difference) / (self.step or 1.0)
        self.lost += int(np.count_nonzero(np.isfinite(first) & ~both))
        self.signal += float(np.square(first, where=both, out=np.zeros(first.shape)).sum())
        self.noise += float(np.square(difference, where=both, out=np.zeros(first.shape)).sum())
        self.values += steps.size
        self.within += int(np.count_nonzero(steps <= 1 + ROUNDING))
        self.equal += int(np.count_nonzero(steps <= ROUNDING))
        self.largest = max(self.largest, float(steps.max(initial=0.0)))
        self.reach = max(self.reach, float(np.abs(first).max(initial=0.0, where=np.isfinite(first))))
        self.samples += len(first)
        self.alike += float(self._chosen_alike(first, second, same).sum())
        chosen = self._chosen_same(first, second, same)
        if chosen is not None:
            self.predicted += len(first)
            self.same += float(chosen.sum())

    def _chosen_same(self, first: np.ndarray, second: np.ndarray, same: np.ndarray) -> np.ndarray | None:
        """Of each sample, the share of positions with the same largest output; None where none is chosen."""
        width = first.shape[1]
        if not width:
            return np.ones(len(first))
        if self.whole:
            return np.asarray(np.mean(same, axis=1))
        classes = self.classes if self.classes and width % self.classes == 0 else width
        if classes == 1:
            return None
        shape = len(first), width // classes, classes
        return np.asarray(np.mean(first.reshape(shape).argmax(2) == second.reshape(shape).argmax(2), axis=1))

    def _chosen_alike(self, first: np.ndarray, second: np.ndarray, same: np.ndarray) -> np.ndarray:
        """Of each sample, whether its largest output is the same, or another one as large up to a step."""
        if not first.shape[1]:
            return np.ones(len(first))
        if self.whole:
            return np.asarray(np.mean(same, axis=1))
        equal = first.argmax(axis=1) == second.argmax(axis=1)
        with np.errstate(invalid="ignore"):
            missing = first.max(axis=1) - np.take_along_axis(first, second.argmax(axis=1)[:, None], 1)[:, 0]
            step = np.full(len(first), self.step or 0.0) * (1 + ROUNDING)
            if self.step is None:
                step = (first.max(axis=1) - np.quantile(first, MOST_OUTPUTS_SHARE, axis=1)) / STEPS
        return np.asarray(equal | (np.isfinite(step) & (missing <= step)))

    @property
    def share_within(self) -> float:
        """Share of the values that are at most one step apart."""
        return self.within / self.values if self.values else 1.0

    @property
    def share_equal(self) -> float:
        """Share of the values that are equal."""
        return self.equal / self.values if self.values else 1.0

    @property
    def agreement(self) -> float | None:
        """Share of the predictions that are the same; of whole numbers, share that is equal; None without any."""
        return self.same / self.predicted if self.predicted else None

    @property
    def sqnr_db(self) -> float:
        """Signal-to-noise of the second, with the first as the signal, where both are finite."""
        return sqnr_db(self.signal, self.noise)

    @property
    def relative(self) -> float:
        """Largest difference over the largest number."""
        largest = self.largest * (self.step or 1.0)
        return largest / self.reach if self.reach else largest


class OutputDivergence:
    """Differences of one pair of models with any number of outputs, each counted in steps of its own.

    Parameters
    ----------
    steps : Sequence[float | None]
        What one step of each output is in real units, > 0; None for those that are not counted in steps.
    classes : Sequence[int | None] | None
        How many numbers are the scores of one position of each output, as for TensorDivergence.
    """

    def __init__(self, steps: Sequence[float | None], classes: Sequence[int | None] | None = None):
        pairs = zip(steps, classes or [None] * len(steps), strict=True)
        self.outputs = tuple(TensorDivergence(step, scores) for step, scores in pairs)

    @property
    def in_steps(self) -> tuple[TensorDivergence, ...]:
        """The outputs that are counted in steps."""
        return tuple(divergence for divergence in self.outputs if divergence.step is not None)

    def update(self, first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> None:
        """Take in the outputs of both for one batch."""
        for divergence, one, other in zip(self.outputs, first, second, strict=True):
            divergence.update(one, other)

    @property
    def share_within(self) -> float:
        """Share of the values counted in steps that are at most one apart."""
        return self._share(self.in_steps, "within", "values")

    @property
    def share_equal(self) -> float:
        """Share of the values counted in steps that are equal."""
        return self._share(self.in_steps, "equal", "values")

    @property
    def alike(self) -> float:
        """The agreement, with a largest value that is another one counted where it is as large up to a step."""
        return self._share(self.outputs, "alike", "samples")

    @property
    def agreement(self) -> float | None:
        """Share of the predictions that are the same, over all outputs that are predictions; None without any."""
        predicted = sum(output.predicted for output in self.outputs)
        return sum(output.same for output in self.outputs) / predicted if predicted else None

    @property
    def largest(self) -> float:
        """Largest difference in steps of any output counted so."""
        return max((divergence.largest for divergence in self.in_steps), default=0.0)

    @property
    def relative(self) -> float:
        """Largest difference of any output over its largest number."""
        return max(divergence.relative for divergence in self.outputs)

    @property
    def sqnr_db(self) -> float | None:
        """The lowest signal-to-noise of an output of real numbers; None without any."""
        return min((divergence.sqnr_db for divergence in self.outputs if not divergence.whole), default=None)

    @property
    def lost(self) -> int:
        """Number of values of all outputs that are finite in the first model alone."""
        return sum(divergence.lost for divergence in self.outputs)

    def _share(self, outputs: Sequence[TensorDivergence], part: str, whole: str) -> float:
        total = sum(getattr(divergence, whole) for divergence in outputs)
        return sum(getattr(divergence, part) for divergence in outputs) / total if total else 1.0

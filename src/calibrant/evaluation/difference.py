"""How far one model's outputs are from another's, and how often both say the same."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from calibrant.algorithms.finite_pair import finite_pair
from calibrant.algorithms.sqnr import sqnr_db
from calibrant.errors import DataError, Problem
from calibrant.evaluation.decisions import DecisionAgreement
from calibrant.evaluation.predictions import class_scores, per_sample, predicted


@dataclass
class Difference:
    """Difference of a model's outputs to a reference's over batches, summed in float64.

    What is no number in the reference does not count; what is none in the outputs alone is all lost.
    """

    values: int = field(default=0, init=False)
    predictions: int = field(default=0, init=False)
    same: int = field(default=0, init=False)
    lost: int = field(default=0, init=False)
    each: DecisionAgreement = field(default_factory=DecisionAgreement, init=False)
    comparable: bool = field(default=True, init=False)
    noise: float = field(default=0.0, init=False)
    signal: float = field(default=0.0, init=False)
    energy: float = field(default=0.0, init=False)
    product: float = field(default=0.0, init=False)
    largest: float = field(default=0.0, init=False)

    def update(self, reference: np.ndarray, outputs: np.ndarray, each: bool = False) -> None:
        """Add a batch of both models' outputs; with ``each``, every number of them is a decision of its own, too.

        Raises
        ------
        DataError
            Their shapes differ.
        """
        if np.shape(reference) != np.shape(outputs):
            found = f"outputs of shapes {list(np.shape(reference))} and {list(np.shape(outputs))}"
            raise DataError(Problem(f"{found} cannot be compared", hint="choose outputs that mean the same"))
        if np.asarray(reference).dtype.kind not in "fc":
            self._compare_names(np.asarray(reference), np.asarray(outputs))
            return
        first, second = finite_pair(per_sample(reference), per_sample(outputs))
        difference = second - first
        self.values += first.size
        self.lost += int(np.sum(np.isfinite(reference) & ~np.isfinite(outputs)))
        classes = predicted(reference), predicted(outputs)
        self.comparable &= classes[0] is not None
        if self.comparable and classes[0] is not None:
            self.predictions += classes[0].size
            self.same += int(np.sum((classes[0] == classes[1]) & ~np.isnan(class_scores(outputs)).any(axis=2)))
        if each:
            self.each.update(np.asarray(reference), np.asarray(outputs))
        self.noise += float(np.vdot(difference, difference))
        self.signal += float(np.vdot(first, first))
        self.energy += float(np.vdot(second, second))
        self.product += float(np.vdot(first, second))
        self.largest = math.inf if self.lost else max(self.largest, float(np.max(np.abs(difference), initial=0.0)))

    def _compare_names(self, reference: np.ndarray, outputs: np.ndarray) -> None:
        """Count equal class numbers or strings, between which there are no distances."""
        self.predictions += reference.size
        self.same += int(np.sum(reference == outputs))

    @property
    def mse(self) -> float | None:
        """Mean squared difference; infinite where outputs are no numbers and the reference's are."""
        if not self.values:
            return None
        return math.inf if self.lost else self.noise / self.values

    @property
    def cosine(self) -> float | None:
        """Cosine of the angle between all outputs; 1 where both are all zero, 0 where one is."""
        if not self.values:
            return None
        length = math.sqrt(self.signal) * math.sqrt(self.energy)
        if length == 0:
            return 1.0 if self.signal == self.energy else 0.0
        return max(-1.0, min(1.0, self.product / length)) if math.isfinite(length) else math.nan

    @property
    def sqnr_db(self) -> float | None:
        """10·log10(Σ reference² / Σ difference²); infinite without a difference."""
        if not self.values:
            return None
        return sqnr_db(self.signal, self.noise)

    @property
    def agreement(self) -> float | None:
        """Share of predictions that are the same; None where a sample has one number that is no class."""
        return self.same / self.predictions if self.predictions and self.comparable else None

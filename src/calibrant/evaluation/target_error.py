"""How far a model's outputs are from the numbers that they are to be, batch by batch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from calibrant.errors import DataError, Problem
from calibrant.evaluation.predictions import per_sample


@dataclass
class TargetError:
    """Errors of outputs to their targets, summed in float64."""

    samples: int = field(default=0, init=False)
    values: int = field(default=0, init=False)
    absolute: float = field(default=0.0, init=False)
    squared: float = field(default=0.0, init=False)
    origin: np.ndarray | None = field(default=None, init=False)  # sums are of differences to it, so none is lost
    sums: np.ndarray | None = field(default=None, init=False)
    squares: np.ndarray | None = field(default=None, init=False)

    def update(self, outputs: np.ndarray, targets: np.ndarray) -> None:
        """Add a batch: outputs [N, ...] and targets of the same shape, axes of size 1 apart, or [N, values].

        Raises
        ------
        DataError
            Their numbers or shapes differ.
        """
        found = per_sample(outputs).astype(np.float64)
        wanted = per_sample(targets).astype(np.float64)
        if found.shape != wanted.shape:
            problem = f"{wanted.shape[1]} numbers a sample as labels, the model gives {found.shape[1]}"
            allowed = "targets of the shape of the output, or class numbers (0, 1, 2, ...)"
            raise DataError(Problem(problem, allowed=allowed))
        if not _fit(np.shape(outputs)[1:], np.shape(targets)[1:]):
            shapes = [list(np.shape(array)[1:]) for array in (targets, outputs)]
            problem = f"labels of shape {shapes[0]} a sample, the model gives {shapes[1]}"
            raise DataError(Problem(problem, allowed="targets of the shape of the output, its axes in that order"))
        columns = wanted if np.ndim(targets) <= 2 else wanted.reshape(-1, 1)  # a map is one quantity
        if self.origin is None or self.sums is None or self.squares is None:
            self.origin = columns.mean(axis=0) if len(columns) else np.zeros(columns.shape[1])
            self.sums, self.squares = np.zeros_like(self.origin), np.zeros_like(self.origin)
        self.sums += (columns - self.origin).sum(axis=0)
        self.squares += np.square(columns - self.origin).sum(axis=0)
        self.samples += len(wanted)
        self.values += wanted.size
        self.absolute += float(np.abs(found - wanted).sum())
        self.squared += float(np.square(found - wanted).sum())

    @property
    def mae(self) -> float | None:
        """Mean absolute error."""
        return self.absolute / self.values if self.values else None

    @property
    def rmse(self) -> float | None:
        """Root of the mean squared error."""
        return math.sqrt(self.squared / self.values) if self.values else None

    @property
    def r2(self) -> float | None:
        """Share of the targets' variance that the outputs explain, 1 at best; None where the targets do not vary.

        With several numbers a sample, the variance is about the mean of each.
        """
        if self.sums is None or self.squares is None:
            return None
        count = self.values / len(self.sums)
        variance = float((self.squares - np.square(self.sums) / count).sum())
        return 1 - self.squared / variance if variance > 1e-12 * float(self.squares.sum()) else None


def _fit(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    """Whether two shapes of as many numbers hold them in the same order."""
    long = [[size for size in shape if size > 1] for shape in (first, second)]
    return long[0] == long[1] or min(map(len, long)) <= 1

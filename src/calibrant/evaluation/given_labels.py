"""Labels as they were given: what they mean depends on the output that they belong to."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, eq=False)
class GivenLabels:
    """Numbers that are labels.

    Parameters
    ----------
    numbers : np.ndarray
        [N, ...] finite, the first axis counts samples.
    file : str
        What messages call them.
    """

    numbers: np.ndarray
    file: str = "labels"

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, samples: slice) -> GivenLabels:
        return replace(self, numbers=self.numbers[samples])

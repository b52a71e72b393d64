"""How many of the first samples are different: copies of one tell no more than one."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

import numpy as np

MOST_SAMPLES = 64


class DifferentSamples:
    """Counts the different ones among the first MOST_SAMPLES samples.

    Attributes
    ----------
    looked_at : int
        Number of samples that were looked at.
    """

    def __init__(self) -> None:
        self.looked_at = 0
        self._digests: set[bytes] = set()

    def add(self, arrays: Collection[np.ndarray], samples: int) -> None:
        """Look at a batch of so many samples, of each input its C-contiguous values; scalars belong to all samples."""
        for at in range(min(samples, MOST_SAMPLES - self.looked_at)):
            digest = hashlib.sha256()
            for array in arrays:
                row = array[at : at + 1] if array.ndim else array
                content = repr(row.tolist()).encode() if row.dtype.kind == "O" else row.reshape(-1).view(np.uint8).data
                digest.update(f"{row.dtype.str}{row.shape}".encode())
                digest.update(content)
            self._digests.add(digest.digest())
            self.looked_at += 1

    @property
    def repeated(self) -> str | None:
        """That fewer than half of them are different, in words."""
        if 2 * len(self._digests) >= self.looked_at:
            return None
        if len(self._digests) == 1:
            return f"the first {self.looked_at} calibration samples are all the same"
        return f"only {len(self._digests)} of the first {self.looked_at} calibration samples are different"

"""Moments of what one layer reads in two networks, the float one and one whose layers before it are quantized.

From them follow the weights whose outputs in the second network are nearest to those of the float weights in the first:
with patches p and q of the two, they are W + G⁻¹ E[q (p − q)ᵀ] W, where G is the mean of q qᵀ.
"""

from __future__ import annotations

import math

import numpy as np

from calibrant.algorithms.output_rounding import believed_share, shrunk
from calibrant.algorithms.patch_gram import block_channels, chosen_patches, exponent_of
from calibrant.algorithms.patch_mean import PatchGeometry

PATCHES, PATCHES_A_ROW = 256, 2.0
"""Of a sample, and more for each row of its moments: neighbours hardly differ, and all would take much longer."""
LEAST_SPREAD = 1e-9
"""Of what is around the mean in the power of a block of inputs; with less, weights stay."""


class PatchPair:
    """Means over batch and output positions, for blocks of input channels as in ``PatchGram``.

    The threads of a matrix product do not show in them.

    Parameters
    ----------
    geometry : PatchGeometry
        How the kernel moves.
    group : int
        Number of input channels that meet in an output.
    centered : bool
        Leave out the means of the patches, as a bias makes up for them.
    """

    __slots__ = ("_centered", "_cross", "_moves", "_patches", "_squares", "count", "geometry", "group")

    def __init__(self, geometry: PatchGeometry, group: int, centered: bool):
        self.geometry, self.group, self._centered = geometry, group, centered
        self.count = 0
        self._squares = self._cross = self._patches = self._moves = np.zeros(())

    def update(self, values: np.ndarray, others: np.ndarray) -> None:
        """Add one batch, finite float32: what the layer reads in the quantized network, and in the float one."""
        exponent = 1 + max(exponent_of(values), exponent_of(others))  # 1, as differences are twice as large
        step = self._step(values.shape)
        pairs = zip(
            chosen_patches(values, exponent, self.geometry, self.group, step),
            chosen_patches(others, exponent, self.geometry, self.group, step),
            strict=True,
        )
        for part, other in pairs:
            patches, moves = part.astype(np.float64), (other - part).astype(np.float64)
            squares, cross = (patches @ each.transpose(0, 2, 1) for each in (patches, moves))
            self.count += patches.shape[-1]
            self._squares = self._squares + np.ldexp(squares, 2 * exponent)
            self._cross = self._cross + np.ldexp(cross, 2 * exponent)
            self._patches = self._patches + np.ldexp(patches.sum(axis=-1, keepdims=True), exponent)
            self._moves = self._moves + np.ldexp(moves.sum(axis=-1, keepdims=True), exponent)

    def _step(self, shape: tuple[int, ...]) -> int:
        """Every how many patches one is looked at; a number without a divisor of those of a sample, or of a row."""
        rest = dict(enumerate(shape[1:], 1))
        rest.pop(self.geometry.channel_axis % len(shape), None)
        for axis, window in zip(self.geometry.spatial_axes, self.geometry.windows, strict=True):
            rest[axis] = window.positions(shape[axis])
        positions = math.prod(rest.values())
        offsets = math.prod(window.size for window in self.geometry.windows)
        rows = offsets * block_channels(offsets, self.group)
        step = max(int(positions / (PATCHES + PATCHES_A_ROW * rows)), 1)
        while math.gcd(step, positions) > 1:
            step -= 1
        return step

    def moments(self) -> np.ndarray:
        """G, drawn towards uncorrelated inputs: float64 [blocks, rows, rows]."""
        return shrunk(self._without_means(self._squares, self._patches), self.count)

    def drift(self) -> np.ndarray:
        """The mean of what the float network has more than the quantized one, float64 [blocks, rows, 1]."""
        return self._moves / self.count

    def wanted(self, weights: np.ndarray) -> np.ndarray:
        """The weights whose outputs are nearest to those of the float network.

        Parameters
        ----------
        weights : np.ndarray
            Those of the float network, float64 [blocks, rows, outputs].

        Returns
        -------
        np.ndarray
            Float64 of the same shape.
        """
        cross = self._without_means(self._cross, self._moves)
        moments = self.moments()
        power, spread = (np.trace(each, axis1=-2, axis2=-1) for each in (self._squares / self.count, moments))
        varies = (spread > LEAST_SPREAD * power)[:, None, None]  # rounding, otherwise
        share = np.where(varies, believed_share(cross.shape[-1], self.count), 0.0)
        return weights + np.linalg.solve(np.where(varies, moments, np.eye(cross.shape[-1])), share * (cross @ weights))

    def _without_means(self, sums: np.ndarray, others: np.ndarray) -> np.ndarray:
        means = self._patches @ others.transpose(0, 2, 1) / self.count**2 if self._centered else 0.0
        return sums / self.count - means

"""Step: round the weights of products inside loops, branches and functions so that their results change least.

What such a product reads is not rounded, and no bias behind it is corrected. So nothing else decides how far its result
is off, the mean of what it reads counts in full, and in a loop the error comes back round after round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import accumulate

import numpy as np

from calibrant.algorithms.arq import QuantizedWeights
from calibrant.algorithms.output_rounding import shrunk
from calibrant.algorithms.patch_gram import PatchGram
from calibrant.algorithms.patch_mean import PatchGeometry
from calibrant.graph.weight_only import EnclosedConstant, WeightOnlyLayer, is_turned
from calibrant.layer_kinds import KINDS
from calibrant.quantized_network import QuantizedWeightOnly
from calibrant.steps.weights.bias_correction import kernel_geometry
from calibrant.steps.weights.quantize_weights import LayerWeights
from calibrant.steps.weights.round_weights import rounded_codes

MOST_BYTES = 1 << 28
"""Of all accumulators together; a network that is one large loop, as of a decoder, would have gigabytes of them."""


class ProductGram(PatchGram):
    """Second moments of what a product reads, of the values that are finite and meet all of its weights."""

    __slots__ = ()

    def update(self, values: np.ndarray) -> None:
        """Add what one run of the product reads, float32."""
        if values.size and values.shape[self.geometry.channel_axis] == self.group and np.isfinite(values).all():
            super().update(values)


def product_statistics(layers: Iterable[QuantizedWeightOnly]) -> dict[str, ProductGram]:
    """An accumulator for each read of a matrix product, or of a convolution that mixes all channels.

    The smallest come first, as long as all of them take no more than MOST_BYTES.
    """
    possible: dict[str, ProductGram] = {}
    for entry in layers:
        geometry = _geometry(entry.layer)
        if geometry is not None:
            group = entry.layer.values.shape[_inputs_axis(entry.layer)]
            possible[entry.layer.read.key] = ProductGram(geometry, group)
    by_size = sorted(possible, key=lambda key: (possible[key].most_bytes, key))
    totals = accumulate(possible[key].most_bytes for key in by_size)
    kept = {key for key, total in zip(by_size, totals, strict=True) if total <= MOST_BYTES}
    return {key: gram for key, gram in possible.items() if key in kept}


def with_rounded_products(
    layers: tuple[QuantizedWeightOnly, ...], grams: Mapping[str, ProductGram]
) -> tuple[QuantizedWeightOnly, ...]:
    """The layers with new codes; scales stay, and layers that share weights still share them.

    Parameters
    ----------
    layers : tuple[QuantizedWeightOnly, ...]
        With the nearest codes.
    grams : Mapping[str, ProductGram]
        Of :func:`product_statistics`, filled; what nothing ran keeps its codes.
    """
    sharing: dict[EnclosedConstant, list[QuantizedWeightOnly]] = {}
    for entry in layers:
        sharing.setdefault(entry.layer.constant, []).append(entry)
    rounded = {constant: _rounded(entries, grams) for constant, entries in sharing.items()}
    return tuple(replace(entry, weights=rounded[entry.layer.constant]) for entry in layers)


def _rounded(entries: list[QuantizedWeightOnly], grams: Mapping[str, ProductGram]) -> QuantizedWeights:
    layer, nearest = entries[0].layer, entries[0].weights
    reads = {entry.layer.read.key for entry in entries}
    filled = [grams[key] for key in sorted(reads) if key in grams and grams[key].count]
    if len(filled) < len(reads) or len({gram.kind for gram in filled}) > 1:
        return nearest
    moments = [shrunk(gram.moments(), gram.count) for gram in filled]
    weights = LayerWeights(layer.constant.node, layer.values, nearest)
    is_last = _inputs_axis(layer) == layer.values.ndim - 1
    codes = rounded_codes(weights, moments, filled[0].group, is_last)
    return replace(nearest, values=codes)


def _geometry(layer: WeightOnlyLayer) -> PatchGeometry | None:
    """How a product reads; None where its weights keep the nearest codes."""
    kind = KINDS.get(layer.type)
    if kind is None or kind.transposed or len(layer.channel_axes) != 1:
        return None
    if kind.spatial:
        return kernel_geometry(layer.product, kind, layer.values.shape)
    is_last = (layer.read.index == 0) != is_turned(layer.product, layer.read.index)
    return PatchGeometry(-1 if is_last else -2) if layer.values.ndim == 2 else None


def _inputs_axis(layer: WeightOnlyLayer) -> int:
    """The axis of the weights that is summed over."""
    (kept,) = layer.channel_axes
    return kept - 1 if kept else 1

"""Step: round the weights so that the outputs of their layers change least.

Where biases are corrected, the mean of the patches does no harm, so only what varies around it counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from calibrant.algorithms.arq import QuantizedWeights, broadcast_shape
from calibrant.algorithms.output_rounding import rounded_for_output, shrunk
from calibrant.algorithms.patch_gram import PatchGram, block_count, in_blocks, out_of_blocks
from calibrant.algorithms.patch_mean import PatchGeometry, PatchMean
from calibrant.graph.graph import Graph
from calibrant.graph.layers import Layer
from calibrant.layer_kinds import KINDS
from calibrant.steps.weights.bias_correction import patch_place
from calibrant.steps.weights.quantize_weights import LayerWeights

GramPlace = tuple[str, PatchGeometry, int]
"""What a layer with weights reads, how its kernel moves, and how many input channels meet in an output."""


def gram_statistics(
    graph: Graph, layers: Mapping[str, Layer], weights: Mapping[str, LayerWeights]
) -> dict[GramPlace, PatchGram]:
    """An accumulator for every layer with quantized weights; equal ones are shared."""
    places = (gram_place(graph, layers[name], entry) for name, entry in weights.items())
    return {place: PatchGram(place[1], place[2]) for place in dict.fromkeys(places)}


def with_rounded_weights(
    graph: Graph,
    layers: Mapping[str, Layer],
    weights: Mapping[str, LayerWeights],
    grams: Mapping[GramPlace, PatchGram],
    patches: Mapping[tuple[str, PatchGeometry], PatchMean],
) -> dict[str, LayerWeights]:
    """The weights with new codes; scales and levels stay, and layers that share weights still share them.

    Parameters
    ----------
    patches : Mapping[tuple[str, PatchGeometry], PatchMean]
        Mean patches for the correction of biases; empty where biases are not corrected.
    """
    readers: dict[str, list[str]] = {}
    for name, entry in weights.items():
        readers.setdefault(entry.constant, []).append(name)
    rounded: dict[str, LayerWeights] = {}
    for constant, names in readers.items():
        entry = weights[names[0]]
        places = [gram_place(graph, layers[name], entry) for name in names]
        if len({place[2] for place in places}) > 1:
            rounded[constant] = entry
            continue
        moments = [_moments(grams[place], patches.get(place[:2])) for place in places]
        codes = rounded_codes(entry, moments, places[0][2], KINDS[layers[names[0]].type].transposed)
        rounded[constant] = replace(entry, quantized=replace(entry.quantized, values=codes))
    return {name: rounded[entry.constant] for name, entry in weights.items()}


def gram_place(graph: Graph, layer: Layer, weights: LayerWeights) -> GramPlace:
    """Where the second moments of what a layer reads are found."""
    if len(layer.channel_axes) == 2:
        return *patch_place(graph, layer), 1
    return *patch_place(graph, layer), weights.float_values.shape[-1 if KINDS[layer.type].transposed else -2]


def _moments(gram: PatchGram, mean: PatchMean | None) -> np.ndarray:
    moments = gram.moments()
    if mean is not None:
        patch = mean.mean()
        column = in_blocks(patch.reshape(gram.offsets, patch.shape[-1], 1), gram.group)
        moments = moments - column @ column.transpose(0, 2, 1)
    return shrunk(moments, gram.count)


def rounded_codes(entry: LayerWeights, seen: Sequence[np.ndarray], group: int, transposed: bool) -> np.ndarray:
    """New codes in the shape of the weights.

    Parameters
    ----------
    entry : LayerWeights
        The weights and their nearest codes.
    seen : Sequence[np.ndarray]
        Second moments of what they are multiplied with, as of :meth:`PatchGram.moments`; for each layer that shares
        them.
    group : int
        Number of input channels that meet in an output.
    transposed : bool
        Whether the weights number their outputs before their inputs.
    """
    quantized, moments = entry.quantized, sum(seen[1:], seen[0]) / len(seen)
    scale = quantized.scale.astype(np.float64).reshape(broadcast_shape(quantized.values.shape, quantized.channel_axes))
    levels, kernel = allowed_levels(quantized), KernelBlocks(quantized.values.shape, len(moments), group, transposed)
    parts = zip(kernel.divided(entry.float_values / scale), kernel.divided(quantized.values), moments, strict=True)
    return kernel.joined(np.stack([rounded_for_output(*part, levels) for part in parts]))


@dataclass(frozen=True)
class KernelBlocks:
    """How weights are divided into blocks of inputs that meet in an output.

    Parameters
    ----------
    shape : tuple[int, ...]
        Shape of the weights.
    count : int
        Number of blocks.
    group : int
        Number of input channels that meet in an output.
    transposed : bool
        Whether the weights number their outputs before their inputs.
    """

    shape: tuple[int, ...]
    count: int
    group: int
    transposed: bool

    def divided(self, values: np.ndarray) -> np.ndarray:
        """Numbers in the shape of the weights as [blocks, offsets and inputs of a block, outputs]."""
        offsets, inputs, groups, outputs = self._sizes
        if self.transposed:
            values = np.swapaxes(values, -1, -2)
        grouped = values.reshape(offsets, inputs, groups, outputs // groups).transpose(0, 2, 1, 3)
        return in_blocks(grouped.reshape(offsets, groups * inputs, outputs // groups), self.group)

    def joined(self, blocks: np.ndarray) -> np.ndarray:
        """The inverse of :meth:`divided`."""
        offsets, inputs, groups, outputs = self._sizes
        grouped = out_of_blocks(blocks, offsets, self.group).reshape(offsets, groups, inputs, outputs // groups)
        last = self.shape[-2:][::-1] if self.transposed else self.shape[-2:]
        values = grouped.transpose(0, 2, 1, 3).reshape(*self.shape[:-2], *last)
        return np.ascontiguousarray(np.swapaxes(values, -1, -2) if self.transposed else values)

    @property
    def _sizes(self) -> tuple[int, int, int, int]:
        """Kernel offsets, inputs, groups and outputs."""
        *sizes, inputs, outputs = self.shape
        if self.transposed:
            inputs, outputs = outputs, inputs
        offsets = math.prod(sizes)
        return offsets, inputs, 1 if inputs != self.group else self.count // block_count(offsets, self.group), outputs


def allowed_levels(weights: QuantizedWeights) -> np.ndarray:
    """The codes that weights may have, ascending; -2^(bits-1) only where it occurs, as some formats cannot hold it."""
    if weights.levels is not None:
        return np.array(weights.levels)
    half = 1 << (weights.bits - 1)
    return np.arange(min(1 - half, int(weights.values.min())), half)

"""Step: how far biases may be lowered that a logarithm or a root reads, which have no result for negative numbers.

The energies of a log-mel front end are sums of products that are never negative, and nearly zero in silence. A
correction that is right on average makes them negative there. What rounding leaves of a channel is at least

- its smallest observed result less half a step of each input, |W| times, and
- its bias, where neither weights nor inputs are ever negative.

Half of the larger of the two is kept, and a step of the sums where no zero was observed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.algorithms.channel_extremes import ChannelMinimum
from calibrant.graph.channel_order import is_channels_first
from calibrant.graph.graph import Graph
from calibrant.graph.layers import Layer
from calibrant.layer_kinds import KINDS
from calibrant.steps.weights.quantize_weights import LayerWeights, bias_of

POSITIVE = {
    **dict.fromkeys(("Log", "Log1p", "Sqrt", "Rsqrt", "Pow", "Reciprocal", "Inv"), 0),
    **dict.fromkeys(("RealDiv", "Div", "Xlogy"), 1),
}
"""Operation that has no result for some numbers, zero or negative ones → the operand that they are of."""
ANY_SIGN = frozenset({"Square", "Abs", "Exp", "Sigmoid", "Softmax", "Softplus"})
"""Operations whose results are never negative."""


def minimum_statistics(
    graph: Graph, layers: Mapping[str, Layer], weights: Mapping[str, LayerWeights]
) -> dict[str, ChannelMinimum]:
    """Layer → smallest result of each output channel, still empty, where results may have to stay positive."""
    return {
        name: ChannelMinimum(1 if is_channels_first(graph.nodes[name]) else -1)
        for name in weights
        if layers[name].bias and _has_to_be_positive(graph, name)
    }


def least_corrections(
    graph: Graph, layer: Layer, entry: LayerWeights, minimum: np.ndarray, quantizer: Quantizer, lowest: float
) -> np.ndarray:
    """The smallest addend of each bias that leaves its channel positive, float64 [channels]; -inf where none is.

    Parameters
    ----------
    graph : Graph
        The float network.
    layer : Layer
        With weights and a bias.
    entry : LayerWeights
        Its weights.
    minimum : np.ndarray
        The smallest observed result of each channel, float32.
    quantizer : Quantizer
        Of what the layer reads.
    lowest : float
        The smallest number that the layer was seen to read.
    """
    kernel = entry.float_values.astype(np.float64)
    axes = tuple(axis for axis in range(kernel.ndim) if axis not in layer.output_axes)
    step = entry.quantized.scale.astype(np.float64).reshape(-1) * float(quantizer.scale)
    noise = np.abs(kernel).sum(axis=axes).reshape(-1) * float(quantizer.scale) / 2
    kept = minimum.astype(np.float64) - noise
    positive = kept > 0
    bias = bias_of(graph, layer)
    if lowest >= 0 and bias is not None:
        never_negative = (kernel.min(axis=axes).reshape(-1) >= 0) & (bias >= 0)
        kept = np.where(never_negative, np.maximum(kept, bias.astype(np.float64)), kept)
        positive |= never_negative
    return np.where(positive, np.maximum(-kept / 2, np.where(minimum > 0, step, 0) - kept), -np.inf)


def _has_to_be_positive(graph: Graph, layer: str) -> bool:
    """Whether an operation reads a layer's result, before another layer does, that has no result for some numbers."""
    seen = {layer}
    waiting = [layer]
    for name in waiting:
        for reader, index in graph.consumers(f"{name}:0"):
            if POSITIVE.get(reader.op) == index:
                return True
            if reader.name not in seen and reader.op not in KINDS and reader.op not in ANY_SIGN:
                seen.add(reader.name)
                waiting.append(reader.name)
    return False

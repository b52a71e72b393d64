"""Weights far beyond the codes of their scale, as a record file of another model has them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from calibrant.algorithms.arithmetic import code_limits
from calibrant.algorithms.arq import QuantizedWeights
from calibrant.data.batches import plural
from calibrant.quantized_network import QuantizedNetwork

_MOST_CLIPPED_SHARE = 0.01
_NAMED = 5


def clipped_weights(network: QuantizedNetwork) -> Iterator[str]:
    """A sentence for the user if layers clip many of their weights.

    Rounding a scale may cost half a step beyond the last code, so only weights a whole step beyond it are counted.
    Where weights have few levels (NUQ), the best scale clips some; there they are counted from twice the range.
    """
    weights = [
        (layer.layer.name, layer.float_weights, layer.weights)
        for layer in network.layers
        if layer.weights is not None and layer.float_weights is not None
    ]
    weights += [(layer.layer.name, layer.layer.values, layer.weights) for layer in network.weight_only]
    shares = {name: _clipped_share(floats, quantized) for name, floats, quantized in weights}
    many = {name: share for name, share in shares.items() if share > _MOST_CLIPPED_SHARE}
    if many:
        named = ", ".join(f"{name!r} {share:.0%}" for name, share in list(many.items())[:_NAMED])
        rest = ", …" if len(many) > _NAMED else ""
        layers = plural(len(many), "layer", "layers")
        yield (
            f"scale_w is too small for the weights of {layers}, so many are clipped ({named}{rest}): "
            "is the record file of another model?"
        )


def _clipped_share(floats: np.ndarray, quantized: QuantizedWeights) -> float:
    lowest, highest = code_limits(quantized.bits)
    beyond = highest if quantized.levels else 1
    with np.errstate(over="ignore"):
        position = floats / quantized.scale_broadcast()
    return float(np.mean((position > highest + beyond) | (position < lowest - beyond)))

"""Biases that the integer network cannot hold: the user is told, as the layer's output is then wrong."""

from __future__ import annotations

import numpy as np

from calibrant.quantized_network import QuantizedNetwork


def saturation_warnings(network: QuantizedNetwork) -> list[str]:
    """One sentence per layer with a bias of more than 2^31 steps of scale_d * scale_w.

    It happens where both scales are tiny against the bias: a layer whose input or weights hardly matter.
    """
    limits = np.iinfo(np.int32)
    warnings = []
    for layer in network.layers:
        if layer.bias is None:
            continue
        cut_off = int(np.isin(layer.integer_bias(), (limits.min, limits.max)).sum())
        if cut_off:
            warnings.append(
                f"{layer.layer.name!r}: {cut_off} of {layer.bias.size} biases exceed 32 bits in steps of "
                "scale_d * scale_w and are cut off; skip_layers would leave the layer in float"
            )
    return warnings

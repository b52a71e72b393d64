"""Scales that the deployable file cannot hold."""

from __future__ import annotations

import numpy as np

from calibrant.algorithms.arithmetic import SMALLEST_SCALE
from calibrant.errors import ModelError, Problem
from calibrant.quantized_network import QuantizedLayer, QuantizedNetwork


def refuse_scales(network: QuantizedNetwork) -> None:
    """Say which products of scales are no normal float32, the form in which the file has them.

    Raises
    ------
    ModelError
        One problem for each layer.
    """
    problems = [
        Problem(
            f"scale_d * scale_w is {product:.3g}, which float32 does not hold precisely",
            file=network.graph.source,
            path=layer.layer.name,
            allowed=f"{SMALLEST_SCALE:.3g} or more",
            hint="leave it in float with skip_layers (with a record file: without its record), or multiply the model's "
            "input by a constant",
        )
        for layer in network.layers
        if (product := _least_product(layer)) < SMALLEST_SCALE
    ]
    if problems:
        raise ModelError(*problems)


def _least_product(layer: QuantizedLayer) -> float:
    if layer.weights is not None:
        return float(layer.bias_scale().min())
    return float(np.prod([np.float64(found.quantizer.scale) for found in layer.inputs]))

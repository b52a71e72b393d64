"""Scales that the deployable file cannot hold."""

from __future__ import annotations

import numpy as np

from calibrant.algorithms.arithmetic import SMALLEST_SCALE
from calibrant.errors import ModelError, Problem
from calibrant.quantized_network import QuantizedLayer, QuantizedNetwork

_LARGEST = float(np.finfo(np.float32).max)


def refuse_scales(network: QuantizedNetwork, record_file: str | None = None) -> None:
    """Say which products of scales are no normal float32, the form in which the file has them.

    Parameters
    ----------
    network : QuantizedNetwork
        The network.
    record_file : str | None
        The record file that the scales are from, for messages; None for scales that were found in data.

    Raises
    ------
    ModelError
        One problem for each layer.
    """
    if record_file is None:
        hint = "leave it in float with skip_layers (with a record file: without its record), or multiply the model's "
        hint += "input by a constant"
    else:
        hint = "correct its scale_d and scale_w; without its record it stays in float"
    problems = [
        Problem(
            f"scale_d * scale_w is {outside:.3g}, which float32 does not hold precisely",
            file=record_file or network.graph.source,
            path=layer.layer.name,
            allowed=f"{SMALLEST_SCALE:.3g} to {_LARGEST:.3g}",
            hint=hint,
        )
        for layer in network.layers
        if (outside := _product_outside(layer)) is not None
    ]
    if problems:
        raise ModelError(*problems)


def _product_outside(layer: QuantizedLayer) -> float | None:
    """A product of scales that float32 does not hold, or None."""
    if layer.weights is not None:
        with np.errstate(over="ignore"):
            products = layer.bias_scale()
    else:
        products = np.array([np.prod([np.float64(found.quantizer.scale) for found in layer.inputs])])
    least, largest = float(products.min()), float(products.max())
    if least < SMALLEST_SCALE:
        return least
    return largest if largest > _LARGEST else None

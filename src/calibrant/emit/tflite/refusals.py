"""Quantized layers that LiteRT has no int8 kernel for."""

from __future__ import annotations

from calibrant.errors import ModelError, Problem
from calibrant.factors import QuantizedNetwork

WITHOUT_KERNEL = {"Conv3D": "LiteRT computes Conv3D in float only"}


def refuse(network: QuantizedNetwork) -> None:
    """Say at once which layers cannot be held.

    Raises
    ------
    ModelError : one problem per layer.
    """
    problems = [
        Problem(
            WITHOUT_KERNEL[layer.layer.type],
            file=network.graph.source,
            path=layer.layer.name,
            hint="leave it in float with skip_layers or skip_layer_types, or export another format",
        )
        for layer in network.layers
        if layer.layer.type in WITHOUT_KERNEL
    ]
    if problems:
        raise ModelError(*problems)

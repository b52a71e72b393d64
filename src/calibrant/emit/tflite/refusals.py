"""What LiteRT cannot hold, said before the converter runs."""

from __future__ import annotations

from collections.abc import Iterator

from calibrant.errors import ModelError, Problem
from calibrant.factors import QuantizedLayer, QuantizedNetwork

WITHOUT_KERNEL = {"Conv3D": "LiteRT computes Conv3D in float only"}
LOWEST_WEIGHT = -127


def refuse(network: QuantizedNetwork) -> None:
    """Say at once which layers cannot be held.

    Raises
    ------
    ModelError : layers without an int8 kernel, weights of -128; one problem each.
    """
    problems = [problem for layer in network.layers for problem in _problems(layer, network.graph.source)]
    if problems:
        raise ModelError(*problems)


def _problems(layer: QuantizedLayer, source: str) -> Iterator[Problem]:
    name, kind = layer.layer.name, layer.layer.type
    if kind in WITHOUT_KERNEL:
        hint = "leave it in float with skip_layers or skip_layer_types, or export another format"
        yield Problem(WITHOUT_KERNEL[kind], file=source, path=name, hint=hint)
    if layer.weights is not None and layer.weights.values.min() < LOWEST_WEIGHT:
        yield Problem(
            "has weights of -128, which LiteRT leaves out",
            file=source,
            path=name,
            allowed="-127 ... 127",
            hint="quantize with export='tflite', which keeps to this range from the start",
        )

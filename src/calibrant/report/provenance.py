"""What a result was made of, by what and how: the part of the report that differs from run to run."""

from __future__ import annotations

import hashlib
import resource
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from calibrant.data.amount import DataUse
from calibrant.graph.graph import Graph
from calibrant.graph.layers import Layer, find_layers
from calibrant.quantized_network import QuantizedNetwork


def run_row(
    original: Graph, config_text: str, data: DataUse | None, seconds: Mapping[str, float], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Version, command, hashes of model, configuration and data, samples, options, seconds and peak memory.

    The hashes are of what was used: the graph as it was read, the resolved configuration, and the batches that
    calibrated, in their order.
    """
    return {
        "version": _version(),
        "command": list(sys.argv),
        "model_sha256": hashlib.sha256(original.serialized()).hexdigest(),
        "configuration_sha256": hashlib.sha256(config_text.encode()).hexdigest(),
        "data_sha256": None if data is None else data.digest,
        "samples": None if data is None else data.samples,
        "samples_available": None if data is None else data.available,
        "options": dict(options),
        "seconds": {step: round(value, 3) for step, value in seconds.items()},
        "peak_memory_bytes": _peak_memory(),
    }


def integer_shares(network: QuantizedNetwork) -> dict[str, float | None]:
    """Shares in 0...1 of the weights, and of the multiply-accumulates, of all quantizable layers that run on integers.

    None where no layer has weights, or where the size of some layer's result is not known.
    """
    quantized = {layer.layer.name for layer in network.layers}
    layers = [layer for layer in find_layers(network.graph)[0] if layer.constant is not None]
    weights = {layer.name: _size(layer.weights_shape) for layer in layers}
    products = {layer.name: _products(network.graph, layer) for layer in layers}
    return {
        "weights_on_integers": _share(weights, quantized),
        "multiply_accumulates_on_integers": None if None in products.values() else _share(products, quantized),
    }


def _share(sizes: Mapping[str, int], chosen: set[str]) -> float | None:
    total = sum(sizes.values())
    return sum(size for name, size in sizes.items() if name in chosen) / total if total else None


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def _products(graph: Graph, layer: Layer) -> int | None:
    """Multiply-accumulates for one sample; every weight is used once at each position of the result."""
    transposed = layer.type == "Conv2DBackpropInput"
    tensor = graph.nodes[layer.name].input[2] if transposed else f"{layer.name}:0"
    shape = graph.shape(tensor)
    if shape is None or None in shape[1:]:
        return None
    first = graph.nodes[layer.name].attr["data_format"].s in (b"NCHW", b"NCDHW")
    positions = shape[2:] if first else shape[1:-1]
    return _size(layer.weights_shape) * _size(positions)


def _version() -> str | None:
    try:
        return version("calibrant")
    except PackageNotFoundError:
        return None


def _peak_memory() -> int:
    """The largest resident size of this process; Linux counts in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

"""Which share of a network is on integers in its LiteRT file: its layers there, and other products."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from calibrant.emit.tflite.conversion.float_file import layer_end
from calibrant.emit.tflite.model import LiteFile
from calibrant.emit.tflite.planning.layer_operator import layer_operator
from calibrant.emit.tflite.planning.wiring import Wiring
from calibrant.graph.multiply_accumulates import count_products
from calibrant.graph.weight_constants import weight_constants
from calibrant.quantized_network import QuantizedNetwork

PRODUCT = "BATCH_MATMUL"
"""The only product that has an integer kernel without being a layer."""


def file_share(made: LiteFile, network: QuantizedNetwork) -> dict[str, Any]:
    """Plain values for the report, counted as those of the network.

    A layer that the file does not compute is left out, as its result is known beforehand: with a batch of fixed size,
    that of the zeros that a loop begins with. Weights that are multiplied in float are float numbers in the file.
    """
    counts = count_products(network.graph).counts
    layers = {layer.layer.name: layer for layer in network.layers}
    wiring = Wiring(made.float_file)
    computed = list(_computed(made, wiring, network))
    in_float = [name for name in computed if made.plan.operators.get(name) not in made.plan.integer]
    others = [name for name in counts if name in network.graph.nodes and name not in layers]
    beside = list(_on_integers(made, wiring, others))
    on_integers = [*(name for name in computed if name not in in_float), *beside]
    sizes = weight_constants(network.graph)
    for layer in network.layers:
        sizes |= network.constants(layer)
    coded = {constant for name in on_integers if name in layers for constant in network.constants(layers[name])}
    stored = {entry.layer.constant: int(entry.weights.values.size) for entry in network.weight_only}
    absent = layers.keys() - set(computed)
    wide = [name for name in computed if made.plan.operators.get(name) in made.plan.wide.layers]
    return {
        "quantized_weights": sum(size for constant, size in sizes.items() if constant in coded),
        "weights": sum(sizes.values()) + sum(stored.values()),
        "quantized_multiply_accumulates": sum(counts.get(name, 0) for name in on_integers),
        "wide_multiply_accumulates": sum(counts.get(name, 0) for name in wide),
        "multiply_accumulates": sum(count for name, count in counts.items() if name not in absent),
        "layers": len(computed),
        "layers_in_float": in_float,
        "widened_layers": [name for name in wide if layers[name].inputs[0].quantizer.bits == 8],
        "products_beside_layers": beside,
    }


def _computed(made: LiteFile, wiring: Wiring, network: QuantizedNetwork) -> Iterator[str]:
    """The quantized layers that the file computes, on integers or in float."""
    for layer in network.layers:
        if made.float_file.indices.get(layer_end(network.graph, layer.layer)) in wiring.maker:
            yield layer.layer.name


def _on_integers(made: LiteFile, wiring: Wiring, products: list[str]) -> Iterator[str]:
    """Those of the products that are no quantized layers which have an integer kernel all the same."""
    for name in products:
        at = layer_operator(wiring, made.float_file.indices.get(f"{name}:0"), (PRODUCT,), None)
        if at is not None and at in made.plan.integer and wiring.operators[at].name == PRODUCT:
            yield name

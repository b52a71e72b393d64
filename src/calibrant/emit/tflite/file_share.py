"""Which share of a network is on integers in its LiteRT file: its layers there, and other products.

Among these are products that the network does not have: those that a Fourier transform is written as.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import accumulate
from typing import Any

from calibrant.emit.tflite.conversion.float_file import layer_end
from calibrant.emit.tflite.model import LiteFile
from calibrant.emit.tflite.planning.kernels import CONVOLVING
from calibrant.emit.tflite.planning.layer_operator import layer_operator
from calibrant.emit.tflite.planning.wiring import Wiring
from calibrant.fed_shapes import FedShapes
from calibrant.graph.graph import Graph
from calibrant.graph.multiply_accumulates import count_products
from calibrant.graph.weight_constants import weight_constants
from calibrant.quantized_network import QuantizedNetwork

PRODUCT = "BATCH_MATMUL"
"""The only product that has an integer kernel without being a layer."""


def file_share(made: LiteFile, network: QuantizedNetwork, fed: FedShapes | None) -> dict[str, Any]:
    """Plain values for the report, counted as those of the network.

    A layer that the file does not compute is left out, as its result is known beforehand: with a batch of fixed size,
    that of the zeros that a loop begins with. Weights that are multiplied in float are float numbers in the file.
    """
    found = count_products(network.graph, fed)
    written = dict(_written_out(made, network.graph, {*found.counts, *found.unknown}, fed))
    written_in_float = list(_in_float(made, network.graph, written))
    counts = {name: count for name, count in found.counts.items() if not _is_complex(network.graph, name)} | written
    layers = {layer.layer.name: layer for layer in network.layers}
    wiring = Wiring(made.float_file)
    computed = list(_computed(made, wiring, network))
    in_float = [name for name in computed if made.plan.operators.get(name) not in made.plan.integer]
    others = [name for name in counts if name in network.graph.nodes and name not in layers]
    beside = [*_on_integers(made, wiring, others), *(name for name in written if name not in written_in_float)]
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
        "products_written_out": written_in_float,
    }


def _written_out(
    made: LiteFile, graph: Graph, products: Collection[str], fed: FedShapes | None
) -> Iterator[tuple[str, int]]:
    """The products in what was written in the place of nodes that are none; with their multiply-accumulates."""
    for name, count in count_products(made.float_file.graph, fed).counts.items():
        if count and name not in graph.nodes and not any(scope in products for scope in _scopes(name)):
            yield name, count


def _in_float(made: LiteFile, graph: Graph, written: Iterable[str]) -> Iterator[str]:
    """Those whose node has a product in float in the file."""
    rows = [f"{row['tensor']}/" for row in made.floats() if row["operator"] in (PRODUCT, *CONVOLVING)]
    for name in written:
        replaced = next((scope for scope in reversed(_scopes(name)) if scope in graph.nodes), name)
        if any(row.startswith(f"{replaced}/") for row in rows):
            yield name


def _scopes(name: str) -> list[str]:
    """The scopes that a name is in, the outer ones first, and itself."""
    return list(accumulate(name.split("/"), "{}/{}".format))


def _is_complex(graph: Graph, name: str) -> bool:
    """Whether a product is one of complex numbers, which the file has as several of real ones."""
    return name in graph.nodes and graph.dtype(f"{name}:0").is_complex


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

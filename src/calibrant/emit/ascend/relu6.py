"""Fusion 9: a Relu6 that only quantizers with a range up to at most 6 read is Relu, which the device fuses."""

from __future__ import annotations

import math

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit
from calibrant.quantized_network import QuantizedNetwork


def relu6_can_be_relu(quantizer_high: float) -> bool:
    """Whether a quantizer whose range ends at ``quantizer_high`` clips everything that Relu6 would clip."""
    return quantizer_high <= 6


def replace_relu6(edit: Edit, network: QuantizedNetwork) -> None:
    """Replace every Relu6 by Relu if all of its readers quantize it with a range that ends at or below 6."""
    highest = {entry.place: entry.quantizer.range[1] for entry in network.every_input()}
    graph = network.graph
    for node in graph.nodes.values():
        if node.op != "Relu6" or node.name in graph.output_nodes:
            continue
        readers = graph.consumers(f"{node.name}:0")
        if readers and all(relu6_can_be_relu(highest.get((reader.name, index), math.inf)) for reader, index in readers):
            relu = nd.copy_node(node)
            relu.op = "Relu"
            edit.put(relu)

"""Fusion 9: Relu6 in front of nothing but quantizers that clip at 6 or below is Relu, which the device fuses."""

from __future__ import annotations

from calibrant.fold.relu6 import relu6_can_be_relu
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit
from calibrant.quantized_network import QuantizedNetwork


def replace_relu6(edit: Edit, network: QuantizedNetwork) -> None:
    """Turn every Relu6 into Relu whose readers all quantize it with a range that ends at or below 6."""
    ends: dict[tuple[str, int], float] = {
        (found.node, found.index): found.quantizer.range[1] for found in network.every_input()
    }
    graph = network.graph
    for node in graph.nodes.values():
        if node.op != "Relu6" or node.name in graph.output_nodes:
            continue
        readers = graph.consumers(f"{node.name}:0")
        if readers and all(
            (reader.name, index) in ends and relu6_can_be_relu(ends[reader.name, index]) for reader, index in readers
        ):
            relu = nd.copy_node(node)
            relu.op = "Relu"
            edit.put(relu)

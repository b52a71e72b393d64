"""What a configuration file may say about a graph, read off the graph."""

from __future__ import annotations

from collections.abc import Mapping

from calibrant.config.graph_info import GraphInfo, LayerInfo
from calibrant.fold import fusible_nodes
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.layer_kinds import TENSOR_QUANTIZABLE
from calibrant.graph.layers import Layer, find_layers


def graph_info(original: Graph, folded: Graph) -> tuple[GraphInfo, Mapping[str, Layer]]:
    """Facts for resolving a configuration, and the layers of the folded graph by name."""
    layers, rejected = find_layers(folded)
    info = GraphInfo(
        layers=tuple(
            LayerInfo(layer.name, layer.type, bool(layer.channel_axes), layer.constant is not None, layer.is_dynamic)
            for layer in layers
        ),
        node_types={name: node.op for name, node in original.nodes.items()},
        rejected=tuple((entry.name, entry.type, entry.reason) for entry in rejected),
        float_inputs={
            node.name: tuple(
                node.name not in folded.regions and _is_activation(folded, tensor) for tensor in nd.data_inputs(node)
            )
            for node in folded.nodes.values()
            if node.op in TENSOR_QUANTIZABLE
        },
        fusible=fusible_nodes(original),
    )
    return info, {layer.name: layer for layer in layers}


def _is_activation(graph: Graph, tensor: str) -> bool:
    return graph.dtype(tensor).name == "float32" and graph.constant(tensor) is None

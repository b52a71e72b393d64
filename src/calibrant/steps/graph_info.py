"""What a configuration file may say about a graph, read off the graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from calibrant.config.graph_info import GraphInfo, LayerInfo
from calibrant.fold import Fusion, fusible_nodes
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.layers import Layer, find_layers
from calibrant.graph.running.partial_runs import nodes_reached
from calibrant.graph.weight_only import WeightOnlyLayer, weight_only_layers
from calibrant.layer_kinds import KINDS, TENSOR_QUANTIZABLE

_BUT_WEIGHTS = "; only its weights are quantized"


def graph_info(original: Graph, folded: Graph, fusions: Iterable[Fusion] = ()) -> tuple[GraphInfo, Mapping[str, Layer]]:
    """Facts for resolving a configuration, and the layers of the folded graph by name.

    Parameters
    ----------
    fusions : Iterable[Fusion]
        What folding has done.
    """
    layers, rejected = find_layers(folded)
    weight_only = {layer.name: layer for layer in weight_only_layers(folded)}
    info = GraphInfo(
        layers=tuple(_layer_facts(folded, layer) for layer in layers),
        node_types={name: node.op for name, node in original.nodes.items()},
        weight_only=tuple(_weight_only_facts(layer) for layer in weight_only.values()),
        rejected=tuple(
            (entry.name, entry.type, entry.reason + (_BUT_WEIGHTS if entry.name in weight_only else ""))
            for entry in rejected
        ),
        float_inputs={
            node.name: tuple(
                node.name not in folded.regions and _is_activation(folded, tensor) for tensor in nd.data_inputs(node)
            )
            for node in folded.nodes.values()
            if node.op in TENSOR_QUANTIZABLE
        },
        fusible=fusible_nodes(original),
        fused_into={
            name: fusion.layer
            for fusion in fusions
            for name in fusion.absorbed
            if name in original.nodes and original.nodes[name].op in TENSOR_QUANTIZABLE
        },
        constant_layers=_constant_layers(original),
    )
    return info, {layer.name: layer for layer in layers}


def _constant_layers(graph: Graph) -> int:
    dependent = set(nodes_reached(nd.readers(graph.nodes), graph.input_nodes))
    return sum(node.op in KINDS and node.name not in dependent for node in graph.nodes.values())


def _layer_facts(graph: Graph, layer: Layer) -> LayerInfo:
    return LayerInfo(
        layer.name,
        layer.type,
        has_channels=bool(layer.channel_axes),
        has_weights=layer.constant is not None,
        dynamic=layer.is_dynamic,
        dilated=any(size != 1 for size in nd.attribute(graph.nodes[layer.name], "dilations") or ()),
        constant=layer.constant,
        channel_axes=layer.channel_axes,
    )


def _weight_only_facts(layer: WeightOnlyLayer) -> LayerInfo:
    return LayerInfo(
        layer.name,
        layer.type,
        has_channels=bool(layer.channel_axes),
        constant=f"{layer.constant.function or ''}/{layer.constant.node}",
        channel_axes=layer.channel_axes,
        weight_only=True,
    )


def _is_activation(graph: Graph, tensor: str) -> bool:
    """Whether a tensor may get a quantizer of its own: in graphs that compute in float16 as well, only layers do."""
    return graph.dtype(tensor).name == "float32" and graph.constant(tensor) is None and not graph.computes_in_half

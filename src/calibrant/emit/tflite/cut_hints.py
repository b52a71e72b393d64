"""How a graph is cut so that operations which LiteRT does not have are left to the application, before or behind it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from calibrant.graph import nodes as nd
from calibrant.graph.cut_proposal import inputs_option, loses_layers, narrow_places
from calibrant.graph.graph import Graph
from calibrant.graph.partial_runs import nodes_reached
from calibrant.graph.tf_core import dtypes
from calibrant.layer_kinds import KINDS

MOST = 4
"""Tensors that a hint names."""


def cut_hint(graph: Graph, names: Collection[str]) -> str | None:
    """What to write so that nodes are cut off together with no layer; None where they are among the layers.

    Parameters
    ----------
    graph : Graph
        The model.
    names : Collection[str]
        The nodes.
    """
    if not names or not all(name in graph.nodes for name in names):
        return None
    readers = nd.readers(graph.nodes)
    behind = nodes_reached(readers, names)
    read = {nd.node_name(tensor) for name in names for tensor in nd.data_inputs(graph.nodes[name])}
    for place in narrow_places(graph, read):
        node = nd.node_name(place)
        is_behind = node in behind and nodes_reached(readers, readers.get(node, ())).keys().isdisjoint(names)
        if is_behind and not loses_layers(graph, place):
            return f"feed what is made of it, {inputs_option(graph, [place])}"
    made = [f"{name}:{index}" for name in names for index in graph.read_outputs(name)]
    made = [tensor for tensor in made if any(each.name not in names for each, _ in graph.consumers(tensor))]
    if made and not any(loses_layers(graph, tensor) or graph.dtype(tensor) == dtypes.string for tensor in made):
        return f"feed what is made of it, {inputs_option(graph, made)}"
    ends = _in_front_of(graph, readers, behind)
    return None if ends is None else f"end in front of it, --outputs {','.join(map(nd.input_reference, ends))}"


def _in_the_model(graph: Graph, tensor: str) -> str:
    """A tensor, or what it is made of where a bias of zeros was added for its correction."""
    node = graph.producer(tensor)
    read = nd.data_inputs(node)
    return read[0] if node.op == "BiasAdd" and read[1] == f"{node.name}/zeros:0" else tensor


def _in_front_of(graph: Graph, readers: Mapping[str, Sequence[str]], behind: Collection[str]) -> list[str] | None:
    """The outputs that are not among nodes, and the numbers that the others are made of; None if there are layers."""
    if any(graph.nodes[name].op in KINDS for name in behind):
        return None
    moving = nodes_reached(readers, graph.input_nodes)
    read = {tensor: None for name in behind for tensor in nd.data_inputs(graph.nodes[name])}
    read = {tensor: None for tensor in read if nd.node_name(tensor) in moving and nd.node_name(tensor) not in behind}
    if not read or not all(graph.dtype(tensor).is_floating for tensor in read):
        return None
    kept = [tensor for tensor in graph.outputs if nd.node_name(tensor) not in behind]
    ends = list(dict.fromkeys(_in_the_model(graph, tensor) for tensor in (*kept, *read)))
    return ends if len(ends) <= MOST and not set(read) & set(graph.inputs) else None

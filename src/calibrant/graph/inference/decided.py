"""What is known of tensors before a graph runs: defaults, loop invariants, known sizes, and all that follows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.inference.constant_folding import constant_values
from calibrant.graph.inference.decided_sizes import decided_sizes
from calibrant.graph.tf_core import NodeDef


def decided_values(graph: Graph, tensors: Iterable[str]) -> dict[str, np.ndarray]:
    """Tensor → the value that it has whenever it is computed, where nothing that is fed has a say in it.

    A PlaceholderWithDefault that is not an input of the graph has its default. Sizes that are not open are known.
    """
    wanted = list(tensors)
    nodes = {node.name: _plain(node) for node in graph.nodes.values() if node.name not in graph.input_nodes}
    nodes.update((name, graph.nodes[name]) for name in graph.input_nodes)
    plain = replace(graph, nodes={name: nodes[name] for name in graph.nodes})
    sizes = decided_sizes(graph, plain, wanted)
    if not sizes:
        return constant_values(plain, wanted)
    values = constant_values(_with_constants(plain, sizes), wanted)
    return values | {tensor: sizes[tensor] for tensor in map(nd.tensor_name, wanted) if tensor in sizes}


def _with_constants(graph: Graph, values: Mapping[str, np.ndarray]) -> Graph:
    """The graph in which constants are read instead of tensors."""
    edit = graph.edit()
    constants = {tensor: edit.add_constant(nd.node_name(tensor), value) for tensor, value in values.items()}
    first = {nd.node_name(name): edit.nodes[nd.node_name(name)] for name in constants.values()}
    for tensor, constant in constants.items():
        for node, index in graph.consumers(tensor):
            edit.set_input(node.name, index, constant)
    return replace(graph, nodes={**first, **edit.nodes})


def default_placeholders(graph: Graph, tensors: Iterable[str]) -> Iterator[str]:
    """The PlaceholderWithDefault nodes that tensors depend on, inputs of the graph left out."""
    seen: set[str] = set()
    waiting = [nd.node_name(tensor) for tensor in tensors]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if graph.nodes[name].op == "PlaceholderWithDefault" and name not in graph.input_nodes:
            yield name
        waiting.extend(nd.node_name(tensor) for tensor in nd.data_inputs(graph.nodes[name]))


def _plain(node: NodeDef) -> NodeDef:
    """A node that has the same value, but that is computed at any time."""
    inputs = nd.data_inputs(node)
    if node.op == "PlaceholderWithDefault":
        return nd.make_node("Identity", node.name, inputs, T=nd.attribute(node, "dtype"))
    if node.op == "Enter" and nd.attribute(node, "is_constant"):
        return nd.make_node("Identity", node.name, inputs, T=nd.attribute(node, "T"))
    if node.op == "Switch":
        both = nd.make_node("IdentityN", node.name, [inputs[0], inputs[0]])
        both.attr["T"].list.type.extend([node.attr["T"].type] * 2)
        return both
    return nd.copy_node(node, inputs) if nd.control_inputs(node) else node

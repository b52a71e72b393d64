"""Keep the names of outputs if a new node was added between a layer and the output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph, ordered


def with_output_names(graph: Graph, tensors: Sequence[str], old: str = "without_bias") -> Graph:
    """The graph whose outputs are called ``tensors`` again; ``()`` leaves it as it is.

    If output ``a/bias:0`` should be ``a:0``, node ``a/bias`` becomes ``a``, and the old ``a`` is called
    ``a/without_bias``, or whatever ``old`` says.
    """
    names = _wanted_names(graph.outputs, tensors)
    if not names:
        return graph
    edit = graph.edit()
    moved = {wanted: edit.free_name(f"{wanted}/{old}") for wanted in names.values() if wanted in graph.nodes}
    renamed = {**moved, **names}
    nodes = {}
    for node in graph.nodes.values():
        references = [_renamed(reference, renamed) for reference in node.input]
        name = renamed.get(node.name, node.name)
        unchanged = name == node.name and references == list(node.input)
        nodes[name] = node if unchanged else nd.copy_node(node, references, name)
    outputs = tuple(tensors)
    return replace(graph, nodes=ordered(nodes, (*outputs, *graph.inputs)), outputs=outputs)


def tensors_with_output_names(
    known: Mapping[int, str], outputs: Sequence[str], tensors: Sequence[str], old: str = "without_bias"
) -> dict[int, str]:
    """Names of tensors, in which those of the nodes that ``outputs`` has are as in :func:`with_output_names`."""
    names = _wanted_names(outputs, tensors)
    renamed = {**{wanted: f"{wanted}/{old}" for wanted in names.values()}, **names}
    return {index: _renamed(tensor, renamed) for index, tensor in known.items()}


def _wanted_names(outputs: Sequence[str], tensors: Sequence[str]) -> dict[str, str]:
    """Node that makes an output → its name in ``tensors``, where they differ."""
    return {
        nd.node_name(now): nd.node_name(wanted)
        for now, wanted in zip(outputs, tensors, strict=False)
        if nd.tensor_name(now) != nd.tensor_name(wanted)
    }


def _renamed(reference: str, names: Mapping[str, str]) -> str:
    mark = "^" if reference.startswith("^") else ""
    node, index = nd.split_tensor(reference.removeprefix("^"))
    if node not in names:
        return reference
    return f"{mark}{names[node]}" if mark or index == 0 else f"{names[node]}:{index}"

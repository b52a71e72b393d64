"""Cutting a graph at inner tensors, so that these are fed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from calibrant.errors import ModelError
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph, ordered
from calibrant.graph.reading import checks
from calibrant.graph.tf_core import GraphDef, NodeDef, dtypes, op_def_registry

_STANDS_FOR = "_stands_for"


def cut(
    graph_def: GraphDef, nodes: Mapping[str, NodeDef], tensors: Sequence[str], source: str
) -> tuple[dict[str, NodeDef], tuple[str, ...]]:
    """Replace the producers of the tensors by placeholders; those already placeholders stay.

    Where a node has other outputs that are read the placeholder is called ``NAME_input_INDEX``, and knows the tensor.

    Raises
    ------
    ModelError
        TensorFlow does not accept the graph, or a node has no such output.
    """
    if all(nodes[nd.node_name(tensor)].op == "Placeholder" for tensor in tensors):
        return dict(nodes), tuple(tensors)
    whole = Graph(
        nodes=ordered(nodes, nodes),
        inputs=tuple(tensors),
        outputs=(),
        library=graph_def.library,
        versions=graph_def.versions,
        source=source,
    )
    known = _shapes_and_types(whole, tensors)
    edit = whole.edit()
    renamed: dict[str, str] = {}
    for tensor in tensors:
        name, index = nd.split_tensor(tensor)
        alone = index == 0 and whole.read_outputs(name) in ((), (0,))
        free = name if alone else edit.free_name(stand_in(tensor))
        placeholder = nd.placeholder_node(free, *known[tensor])
        if free != name:
            nd.set_attribute(placeholder, _STANDS_FOR, tensor)
        renamed[tensor] = edit.put(placeholder)
        if free != name:
            for node, position in whole.consumers(tensor):
                edit.set_input(node.name, position, renamed[tensor])
    return edit.nodes, tuple(renamed[tensor] for tensor in tensors)


def stand_in(tensor: str) -> str:
    """What the placeholder for one of several outputs of a node is called."""
    name, index = nd.split_tensor(tensor)
    return f"{name}_input_{index}"


def stood_for(placeholder: NodeDef) -> str | None:
    """The tensor in whose place a placeholder of another name was put, if it was."""
    return placeholder.attr[_STANDS_FOR].s.decode() if _STANDS_FOR in placeholder.attr else None


def _shapes_and_types(whole: Graph, tensors: Sequence[str]) -> Mapping[str, tuple[tuple[int | None, ...] | None, Any]]:
    try:
        checks.importable(whole)
        return whole.tensors
    except ModelError:
        if not checks.unknown_ops(whole):
            raise
        types = {tensor: _type_that_is_read(whole, tensor) for tensor in tensors}
        if None in types.values():
            raise
        return {tensor: (None, dtype) for tensor, dtype in types.items()}


def _type_that_is_read(graph: Graph, tensor: str) -> Any:
    """The type that a reader of the tensor expects: what made it is unknown, and is cut away."""
    for node, position in graph.consumers(tensor):
        operation = op_def_registry.get(node.op)
        types = []
        for argument in operation.input_arg if operation is not None else ():
            if argument.type_list_attr:
                types += list(node.attr[argument.type_list_attr].list.type)
                continue
            kind = argument.type or node.attr[argument.type_attr].type
            types += [kind] * (node.attr[argument.number_attr].i if argument.number_attr else 1)
        if position < len(types) and types[position]:
            return dtypes.as_dtype(types[position])
    return None

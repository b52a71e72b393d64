"""Shapes of the tensors in a function, by the shapes of its arguments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import FunctionDef, NodeDef, dtypes, op_def_registry


def function_as_graph(graph: Graph, function: FunctionDef, shapes: Sequence[nd.OpenShape | None]) -> Graph | None:
    """The nodes of a function as a graph, with placeholders for its arguments; None where TensorFlow refuses them.

    Parameters
    ----------
    graph : Graph
        The graph whose library has the function.
    function : FunctionDef
        The function.
    shapes : Sequence[nd.OpenShape | None]
        Of its arguments; None where the number of axes is not known.
    """
    arguments = function.signature.input_arg
    tensors = {argument.name: f"{argument.name}:0" for argument in arguments}
    nodes = {
        argument.name: nd.placeholder_node(argument.name, shape, dtypes.as_dtype(argument.type))
        for argument, shape in zip(arguments, shapes, strict=True)
    }
    for node in function.node_def:
        for index, name in enumerate(_outputs(node)):
            tensors[name] = f"{node.name}:{index}"
    try:
        for node in function.node_def:
            read = [name if name.startswith("^") else tensors[name] for name in node.input]
            nodes[node.name] = nd.copy_node(node, read)
        made = Graph(nodes, (), (), library=graph.library, versions=graph.versions, source=graph.source)
        made.tensors  # noqa: B018
    except Exception:  # an operation that is not known here, or whatever TensorFlow's shape functions raise
        return None
    return made


def _outputs(node: NodeDef) -> Iterator[str]:
    """What other nodes of a function call the outputs of a node, in order; nothing for a call, which says no names."""
    operation = op_def_registry.get(node.op)
    for argument in () if operation is None else operation.output_arg:
        many = 1
        if argument.type_list_attr:
            many = len(node.attr[argument.type_list_attr].list.type)
        elif argument.number_attr:
            many = node.attr[argument.number_attr].i
        yield from (f"{node.name}:{argument.name}:{index}" for index in range(many))

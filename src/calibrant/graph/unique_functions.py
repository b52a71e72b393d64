"""Functions of a graph under names that no other function of the process has."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from calibrant.graph.tf_core import GraphDef, NodeDef


def with_unique_functions(graph_def: GraphDef) -> GraphDef:
    """The graph with its functions named by their content.

    TensorFlow keeps the functions that a process has traced in one register, and refuses another one of the same name.
    A rewritten loop still has the name of the loop it came from, which may be alive there.
    """
    if not graph_def.library.function:
        return graph_def
    content = hashlib.sha256(graph_def.library.SerializeToString(deterministic=True)).hexdigest()[:12]
    renamed = GraphDef()
    renamed.CopyFrom(graph_def)
    names = {name: f"{name}_{content}" for name in (entry.signature.name for entry in graph_def.library.function)}
    for function in renamed.library.function:
        function.signature.name = names[function.signature.name]
        for node in function.node_def:
            _rename(node, names)
    for gradient in renamed.library.gradient:
        gradient.function_name = names.get(gradient.function_name, gradient.function_name)
        gradient.gradient_func = names.get(gradient.gradient_func, gradient.gradient_func)
    for node in renamed.node:
        _rename(node, names)
    return renamed


def _rename(node: NodeDef, names: Mapping[str, str]) -> None:
    node.op = names.get(node.op, node.op)
    for value in node.attr.values():
        for called in (value.func, *value.list.func) if value.HasField("func") else value.list.func:
            called.name = names.get(called.name, called.name)

"""Functions of a graph under names that no other function of the process has."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from calibrant.graph.tf_core import GraphDef, NodeDef

NUMBER = re.compile(r"_(\d+)$")
"""What TensorFlow appends: a count of all that the process has traced before."""


def with_unique_functions(graph_def: GraphDef) -> GraphDef:
    """The graph with its functions named by their content, whatever the process has traced before.

    TensorFlow keeps the functions that a process has traced in one register, and refuses another one of the same name.
    A rewritten loop still has the name of the loop it came from, which may be alive there.
    """
    if not graph_def.library.function:
        return graph_def
    renamed = GraphDef()
    renamed.CopyFrom(graph_def)
    order = sorted((entry.signature.name for entry in graph_def.library.function), key=_place)
    _rename_all(renamed, {name: f"{NUMBER.sub('', name)}_{place}" for place, name in enumerate(order)})
    functions = sorted(renamed.library.function, key=lambda entry: entry.signature.name)
    del renamed.library.function[:]
    renamed.library.function.extend(functions)
    content = hashlib.sha256(renamed.library.SerializeToString(deterministic=True)).hexdigest()[:12]
    _rename_all(renamed, {entry.signature.name: f"{entry.signature.name}_{content}" for entry in functions})
    return renamed


def _place(name: str) -> tuple[str, int]:
    number = NUMBER.search(name)
    return NUMBER.sub("", name), int(number[1]) if number else -1


def _rename_all(graph_def: GraphDef, names: Mapping[str, str]) -> None:
    for function in graph_def.library.function:
        function.signature.name = names[function.signature.name]
        for node in function.node_def:
            _rename(node, names)
    for gradient in graph_def.library.gradient:
        gradient.function_name = names.get(gradient.function_name, gradient.function_name)
        gradient.gradient_func = names.get(gradient.gradient_func, gradient.gradient_func)
    for node in graph_def.node:
        _rename(node, names)


def _rename(node: NodeDef, names: Mapping[str, str]) -> None:
    node.op = names.get(node.op, node.op)
    for value in node.attr.values():
        for called in (value.func, *value.list.func) if value.HasField("func") else value.list.func:
            called.name = names.get(called.name, called.name)

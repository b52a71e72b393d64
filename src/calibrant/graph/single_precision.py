"""float32 in place of other floating-point numbers: LiteRT's kernels do not compute with them, nor do our layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import FunctionDef, FunctionDefLibrary, NodeDef, dtypes

BRAIN = frozenset({dtypes.bfloat16.as_datatype_enum})
OTHERS = BRAIN | {kind.as_datatype_enum for kind in (dtypes.float16, dtypes.float64)}
FLOAT32 = dtypes.float32.as_datatype_enum


def in_single_precision(graph: Graph, others: frozenset[int] = OTHERS) -> Graph:
    """The graph in which everything that computes with these types does so with float32, in loops and branches, too.

    Parameters
    ----------
    graph : Graph
        The graph.
    others : frozenset[int]
        Numbers of narrower or wider floating-point types.
    """
    changed = {name: made for name, node in graph.nodes.items() if (made := _converted(node, others)) is not node}
    given = list(graph.library.function)
    functions = [_converted_function(function, others) for function in given]
    if not changed and functions == given:
        return graph
    library = FunctionDefLibrary(function=functions, gradient=graph.library.gradient)
    edit = graph.edit()
    for node in changed.values():
        edit.put(node)
    return replace(edit.finish(), library=library)


def _converted_function(function: FunctionDef, others: frozenset[int]) -> FunctionDef:
    made = FunctionDef()
    made.CopyFrom(function)
    for argument in (*made.signature.input_arg, *made.signature.output_arg):
        if argument.type in others:
            argument.type = FLOAT32
    del made.node_def[:]
    made.node_def.extend(_converted(node, others) for node in function.node_def)
    return made


def _converted(node: NodeDef, others: frozenset[int]) -> NodeDef:
    types = [key for key, value in node.attr.items() if value.type in others]
    lists = [key for key, value in node.attr.items() if not others.isdisjoint(value.list.type)]
    if not types and not lists:
        return node
    if node.op == "Const":
        return nd.constant_node(node.name, _as_meant(nd.constant_value(node)))
    changed = nd.copy_node(node)
    for key in types:
        changed.attr[key].type = FLOAT32
    for key in lists:
        kinds = [FLOAT32 if kind in others else kind for kind in node.attr[key].list.type]
        changed.attr[key].list.type[:] = kinds
    return changed


def _as_meant(value: np.ndarray) -> np.ndarray:
    """A constant as float32; a half's root as it was before it was rounded, by which the converter knows a GELU."""
    is_root = value.size == 1 and (value == np.sqrt(0.5).astype(value.dtype)).all()
    return np.full(value.shape, np.sqrt(0.5), np.float32) if is_root else value.astype(np.float32)

"""float32 in place of float16, bfloat16 and float64, which LiteRT's float kernels do not compute with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import FunctionDef, FunctionDefLibrary, NodeDef, dtypes

OTHERS = frozenset(kind.as_datatype_enum for kind in (dtypes.float16, dtypes.bfloat16, dtypes.float64))
FLOAT32 = dtypes.float32.as_datatype_enum


def in_single_precision(graph: Graph) -> Graph:
    """The graph in which everything that computes with narrower or wider floating-point numbers does so with float32.

    Loops and branches, which are functions, do so too.
    """
    changed = {name: made for name, node in graph.nodes.items() if (made := _converted(node)) is not node}
    given = list(graph.library.function)
    functions = [_converted_function(function) for function in given]
    if not changed and functions == given:
        return graph
    library = FunctionDefLibrary(function=functions, gradient=graph.library.gradient)
    edit = graph.edit()
    for node in changed.values():
        edit.put(node)
    return replace(edit.finish(), library=library)


def _converted_function(function: FunctionDef) -> FunctionDef:
    made = FunctionDef()
    made.CopyFrom(function)
    for argument in (*made.signature.input_arg, *made.signature.output_arg):
        if argument.type in OTHERS:
            argument.type = FLOAT32
    del made.node_def[:]
    made.node_def.extend(map(_converted, function.node_def))
    return made


def _converted(node: NodeDef) -> NodeDef:
    types = [key for key, value in node.attr.items() if value.type in OTHERS]
    lists = [key for key, value in node.attr.items() if OTHERS.intersection(value.list.type)]
    if not types and not lists:
        return node
    if node.op == "Const":
        return nd.constant_node(node.name, _as_meant(nd.constant_value(node)))
    changed = nd.copy_node(node)
    for key in types:
        changed.attr[key].type = FLOAT32
    for key in lists:
        kinds = [FLOAT32 if kind in OTHERS else kind for kind in node.attr[key].list.type]
        changed.attr[key].list.type[:] = kinds
    return changed


def _as_meant(value: np.ndarray) -> np.ndarray:
    """A constant as float32; a half's root as it was before it was rounded, by which the converter knows a GELU."""
    is_root = value.size == 1 and (value == np.sqrt(0.5).astype(value.dtype)).all()
    return np.full(value.shape, np.sqrt(0.5), np.float32) if is_root else value.astype(np.float32)

"""float32 in place of other floating-point numbers: LiteRT's kernels do not compute with them, nor do our layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.functions.control_flow import called_functions
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import FunctionDef, FunctionDefLibrary, NodeDef, dtypes
from calibrant.layer_kinds import KINDS

BRAIN = frozenset({dtypes.bfloat16.as_datatype_enum})
DOUBLE = frozenset({dtypes.float64.as_datatype_enum})
COMPLEX = frozenset({dtypes.complex128.as_datatype_enum})
OTHERS = BRAIN | DOUBLE | {dtypes.float16.as_datatype_enum}
OF_BITS = frozenset({"Bitcast", "DecodeRaw", "DecodePaddedRaw"})
FLOAT32 = dtypes.float32.as_datatype_enum
QUANTIZER = "MulNoNan"  # the first product of every quantizer that this package writes


def in_single_precision(graph: Graph, others: frozenset[int] = OTHERS) -> Graph:
    """The graph in which everything that computes with these types does so with float32, in loops and branches, too.

    Where the bits of such numbers are taken as those of others, everything stays as it is.

    Parameters
    ----------
    graph : Graph
        The graph.
    others : frozenset[int]
        Numbers of narrower or wider floating-point types.
    """
    changed = [_converted(node, others) for node in graph.nodes.values() if _is_of(node, others)]
    found = [function for function in graph.library.function if _uses(function, others)]
    every = (*graph.nodes.values(), *(node for function in found for node in function.node_def))
    if not (changed or found) or any(node.op in OF_BITS and _is_of(node, others) for node in every):
        return graph
    edit = graph.edit()
    for node in changed:
        edit.put(node)
    names = {function.signature.name for function in found}
    kept = (function for function in graph.library.function if function.signature.name not in names)
    made = (_converted_function(function, others) for function in found)
    library = FunctionDefLibrary(function=[*kept, *made], gradient=graph.library.gradient)
    return replace(edit.finish(), library=library)


def not_quantized(graph: Graph) -> frozenset[int]:
    """The types that layers compute in but that none is quantized in.

    A network whose layers are all of float64 computes in float64, whatever it is fed; beside layers of float32 it is
    there for its exactness, such as to prepare what they read. So it is in simulations of LiteRT files, which round in
    float32.
    """
    called, _ = called_functions(graph.nodes.values(), graph.library)
    every = (*graph.nodes.values(), *(node for function in called.values() for node in function.node_def))
    if any(_is_of(node, COMPLEX) for node in every):  # made of float64, which would have to become narrower as well
        return BRAIN
    if any(node.op == QUANTIZER and nd.attribute(node, "T") == dtypes.float32 for node in every):
        return BRAIN
    kinds = {nd.attribute(node, "T") for node in every if node.op in KINDS}
    return BRAIN | DOUBLE if dtypes.float64 in kinds and dtypes.float32 not in kinds else BRAIN


def _is_of(node: NodeDef, others: frozenset[int]) -> bool:
    return any(value.type in others or not others.isdisjoint(value.list.type) for value in node.attr.values())


def _uses(function: FunctionDef, others: frozenset[int]) -> bool:
    arguments = (*function.signature.input_arg, *function.signature.output_arg)
    return any(each.type in others for each in arguments) or any(_is_of(node, others) for node in function.node_def)


def _converted_function(function: FunctionDef, others: frozenset[int]) -> FunctionDef:
    made = FunctionDef()
    made.CopyFrom(function)
    for argument in (*made.signature.input_arg, *made.signature.output_arg):
        if argument.type in others:
            argument.type = FLOAT32
    nodes = [_converted(node, others) if _is_of(node, others) else node for node in function.node_def]
    del made.node_def[:]
    made.node_def.extend(nodes)
    return made


def _converted(node: NodeDef, others: frozenset[int]) -> NodeDef:
    if node.op == "Const":
        return nd.constant_node(node.name, _as_meant(nd.constant_value(node)))
    changed = nd.copy_node(node)
    for value in changed.attr.values():
        if value.type in others:
            value.type = FLOAT32
        if not others.isdisjoint(value.list.type):
            value.list.type[:] = [FLOAT32 if kind in others else kind for kind in value.list.type]
    return changed


def _as_meant(value: np.ndarray) -> np.ndarray:
    """A constant as float32; a half's root as it was before it was rounded, by which the converter knows a GELU."""
    is_root = value.size == 1 and (value == np.sqrt(0.5).astype(value.dtype)).all()
    return np.full(value.shape, np.sqrt(0.5), np.float32) if is_root else _in_bounds(value).astype(np.float32)


def _in_bounds(value: np.ndarray) -> np.ndarray:
    """Finite numbers that are no float32, such as what masks add, as the nearest one."""
    if value.dtype != np.float64:
        return value
    most = float(np.finfo(np.float32).max)
    return np.where(np.isfinite(value), np.clip(value, -most, most), value)

"""Operations that stay in float although quantized tensors are around them.

The converter would put them on integers: with constants rounded to 8 bits with one scale, so that a balancer's factors,
which may differ by orders of magnitude, were lost; with a result that everyone reads rounded, not only the layer that
quantizes it; or, as a Mean or a Tanh, with factors that the kernel chooses. It leaves alone what has a negation beside
it, which LiteRT has in float only.
"""

from __future__ import annotations

import numpy as np
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.python.framework import dtypes

from calibrant.emit.tflite.integer_part import ONLY_THE_SHAPE, IntegerPart, moves
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.layers import ADDITIONS

ALONE_IN_FLOAT = ADDITIONS | {
    *("Mul", "Sub", "SquaredDifference", "RealDiv", "Neg", "Cast", "ConcatV2"),
    *("Conv2D", "DepthwiseConv2dNative", "Conv2DBackpropInput", "Conv3D", "MatMul"),
    *("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "BiasAdd"),
}
"""Operations that the converter puts on integers only where their result is quantized as well."""
FUSED_BEHIND = frozenset({"BiasAdd", "Relu", "Relu6"})
"""Operations that become one with the operator in front of them."""


def keep_in_float(edit: Edit, part: IntegerPart, read_quantized: frozenset[str]) -> None:
    """Write products, sums and concatenations with negations, and everything else behind two; the numbers are the same.

    ``x * c`` is ``-(x * -c)``, ``x + c`` is ``-(-c - x)``, ``x + y`` is ``-(-x - y)``, ``[x, y]`` is ``-[-x, -y]``, and
    other operations read ``-x * -1`` where ``x`` is quantized. ``x * y`` is ``-(-x * y)``.

    Parameters
    ----------
    part : what runs on integers and is left alone.
    read_quantized : tensors that are quantized where they are read.
    """
    graph = edit.graph
    for node in graph.nodes.values():
        if node.name in part.nodes:
            continue
        if node.op in ADDITIONS | {"Mul"} and _is_read(graph, node.name, read_quantized):
            _negated(edit, node)
        elif node.op == "ConcatV2" and any(_was_integer(graph, tensor, part) for tensor in nd.data_inputs(node)):
            _negated_parts(edit, node)
        elif node.op not in ALONE_IN_FLOAT or _is_read(graph, node.name, read_quantized):
            _read_in_float(edit, node, part)


def _read_in_float(edit: Edit, node: NodeDef, part: IntegerPart) -> None:
    if moves(node) or node.op in ONLY_THE_SHAPE:
        return
    for index, tensor in enumerate(nd.data_inputs(node)):
        if _was_integer(edit.graph, tensor, part):
            quantized = nd.data_inputs(edit.nodes[node.name])[index]
            negative = edit.add("Neg", f"{node.name}/negative", [quantized], T=dtypes.float32)
            minus_one = edit.add_constant(f"{node.name}/minus_one", np.full(1, -1, np.float32))
            edit.set_input(
                node.name, index, edit.add("Mul", f"{node.name}/in_float", [negative, minus_one], T=dtypes.float32)
            )


def _negated(edit: Edit, node: NodeDef) -> None:
    read = list(nd.data_inputs(edit.nodes[node.name]))
    values = [edit.graph.constant(tensor) for tensor in nd.data_inputs(node)]
    place = next((index for index, value in enumerate(values) if value is not None), None)
    if place is not None:
        negative = edit.add_constant(f"{node.name}/negative", -np.asarray(values[place]))
        other = read[1 - place]
    else:
        negative, other = edit.add("Neg", f"{node.name}/negative", [read[0]], T=node.attr["T"]), read[1]
    op, inputs = ("Mul", [other, negative]) if node.op == "Mul" else ("Sub", [negative, other])
    _put_negation(edit, node, edit.add(op, f"{node.name}/negated", inputs, T=node.attr["T"]))


def _negated_parts(edit: Edit, node: NodeDef) -> None:
    *parts, axis = nd.data_inputs(edit.nodes[node.name])
    zero = edit.add_constant(f"{node.name}/zero", np.zeros(1, np.float32))
    # Were all of them Neg, the converter would take one Neg behind the concatenation for them.
    negative = [edit.add("Sub", f"{node.name}/negative", [zero, tensor], T=node.attr["T"]) for tensor in parts[:-1]]
    negative.append(edit.add("Neg", f"{node.name}/negative", [parts[-1]], T=node.attr["T"]))
    inner = nd.copy_node(node, [*negative, axis], edit.free_name(f"{node.name}/negated"))
    _put_negation(edit, node, edit.put(inner))


def _put_negation(edit: Edit, node: NodeDef, tensor: str) -> None:
    controls = (f"^{name}" for name in nd.control_inputs(node))
    edit.put(nd.make_node("Neg", node.name, [tensor, *controls], T=node.attr["T"]))


def _is_read(graph: Graph, name: str, tensors: frozenset[str]) -> bool:
    """Whether one of the tensors is a node's result, or is made of it by what moves values or is fused into it."""
    waiting, seen = [name], {name}
    for current in waiting:
        made = [f"{current}:{index}" for index in graph.read_outputs(current)]
        if not tensors.isdisjoint(made):
            return True
        readers = {
            reader.name
            for tensor in made
            for reader, _ in graph.consumers(tensor)
            if moves(reader) or reader.op in FUSED_BEHIND
        }
        waiting += sorted(readers - seen)
        seen |= readers
    return False


def _was_integer(graph: Graph, tensor: str, part: IntegerPart) -> bool:
    """Whether a tensor is of the integer part, or is made of one by moving values only."""
    if tensor in part.sources:
        return True
    node = graph.producer(tensor)
    return moves(node) and any(_was_integer(graph, read, part) for read in nd.data_inputs(node))

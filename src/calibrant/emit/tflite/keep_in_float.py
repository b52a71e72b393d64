"""Operations with constants that stay in float although a quantized layer reads them.

The converter would put them on integers and round the constant to 8 bits with one scale: a balancer's factors, which
may differ by orders of magnitude, would be lost. It leaves alone what is not quantized right behind it, so a negation,
which LiteRT has in float only, comes in between.
"""

from __future__ import annotations

import numpy as np

from calibrant.emit.tflite.integer_part import IntegerPart, moves
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.layers import ADDITIONS


def keep_in_float(edit: Edit, part: IntegerPart, read_quantized: frozenset[str]) -> None:
    """Write ``x * c`` as ``-(x * -c)`` and ``x + c`` as ``-(-c - x)``; the numbers are the same.

    Parameters
    ----------
    part : what runs on integers and is left alone.
    read_quantized : tensors that are quantized where they are read.
    """
    graph = edit.graph
    for node in graph.nodes.values():
        if (
            node.op not in ADDITIONS | {"Mul"}
            or node.name in part.nodes
            or not _is_read(graph, node.name, read_quantized)
        ):
            continue
        original = nd.data_inputs(node)
        constants = [index for index, tensor in enumerate(original) if graph.constant(tensor) is not None]
        if len(constants) != 1:
            continue
        value = np.asarray(graph.constant(original[constants[0]]))
        negative = edit.add_constant(f"{node.name}/negative", -value)
        read = nd.data_inputs(edit.nodes[node.name])[1 - constants[0]]
        op, inputs = ("Mul", [read, negative]) if node.op == "Mul" else ("Sub", [negative, read])
        inner = edit.add(op, f"{node.name}/negated", inputs, T=node.attr["T"])
        controls = (f"^{name}" for name in nd.control_inputs(node))
        edit.put(nd.make_node("Neg", node.name, [inner, *controls], T=node.attr["T"]))


def _is_read(graph: Graph, name: str, tensors: frozenset[str]) -> bool:
    """Whether one of the tensors is a node's result, or is made of it by moving values only."""
    waiting, seen = [name], {name}
    for current in waiting:
        made = [f"{current}:{index}" for index in graph.read_outputs(current)]
        if not tensors.isdisjoint(made):
            return True
        readers = {reader.name for tensor in made for reader, _ in graph.consumers(tensor) if moves(reader)}
        waiting += sorted(readers - seen)
        seen |= readers
    return False

"""Tensors filled with one number in the shape of another tensor, as a choice needs them, become that number.

``tf.where(mask, scores, tf.zeros_like(scores) - 1e9)``: the number is known to the converter only where all sizes are.
"""

from __future__ import annotations

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.inference.unread_values import LIKE

ARITHMETIC = {"Add": np.add, "AddV2": np.add, "Sub": np.subtract, "Mul": np.multiply}
CHOICES = frozenset({"Select", "SelectV2"})


def filled_as_numbers(edit: Edit) -> None:
    """Let choices between a tensor and one that is filled in its shape read a number."""
    graph = edit.graph
    for node in list(graph.nodes.values()):
        if node.op not in CHOICES:
            continue
        condition, *operands = nd.data_inputs(node)
        numbers = [_filled(graph, operand, other) for operand, other in zip(operands, reversed(operands), strict=True)]
        if numbers.count(None) != 1 or (node.op == "Select" and graph.shape(condition) != graph.shape(node.name)):
            continue
        read = [
            tensor if number is None else edit.add_constant(f"{node.name}/number", number)
            for tensor, number in zip(operands, numbers, strict=True)
        ]
        controls = nd.control_references(node)
        edit.put(nd.make_node("SelectV2", node.name, [condition, *read, *controls], T=node.attr["T"]))


def _filled(graph: Graph, tensor: str, like: str) -> np.ndarray | None:
    """The number with which a tensor is filled in the shape of another one."""
    if graph.constant(tensor) is not None:
        return None
    node = graph.producer(tensor)
    if node.op in LIKE and nd.data_inputs(node)[0] == like:
        return np.array(LIKE[node.op], graph.dtype(tensor).as_numpy_dtype)
    if node.op == "Fill":
        sizes, value = nd.data_inputs(node)
        shape = graph.producer(sizes)
        return graph.constant(value) if shape.op == "Shape" and nd.data_inputs(shape)[0] == like else None
    if node.op == "Identity":
        return _filled(graph, nd.data_inputs(node)[0], like)
    if node.op in ARITHMETIC:
        first, second = (_number(graph, each, like) for each in nd.data_inputs(node))
        return None if first is None or second is None else np.asarray(ARITHMETIC[node.op](first, second))
    return None


def _number(graph: Graph, tensor: str, like: str) -> np.ndarray | None:
    """The one number that a tensor holds, or is filled with."""
    value = graph.constant(tensor)
    if value is None:
        return _filled(graph, tensor, like)
    return value.reshape(()) if value.size == 1 else None

"""Tensors filled with one number in the shape of another tensor, as a choice needs them, become that number.

``tf.where(mask, scores, tf.zeros_like(scores) - 1e9)``: the number is known to the converter only where all sizes are.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.tf_core import NodeDef

LIKE = {"ZerosLike": 0.0, "OnesLike": 1.0}
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
        controls = (f"^{name}" for name in nd.control_inputs(node))
        edit.put(nd.make_node("SelectV2", node.name, [condition, *read, *controls], T=node.attr["T"]))


def _filled(graph: Graph, tensor: str, like: str) -> np.ndarray | None:
    """The number with which a tensor is filled in the shape of another one."""
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
        return next(_computed(graph, node, like), None)
    return None


def _computed(graph: Graph, node: NodeDef, like: str) -> Iterator[np.ndarray]:
    """The result of a number and a tensor that is filled."""
    first, second = nd.data_inputs(node)
    for turn, (tensor, other) in enumerate(((first, second), (second, first))):
        number, value = graph.constant(other), None
        if number is not None and number.size == 1:
            value = _filled(graph, tensor, like)
        if number is not None and value is not None:
            pair = (value, number.reshape(())) if not turn else (number.reshape(()), value)
            yield np.asarray(ARITHMETIC[node.op](*pair), value.dtype)

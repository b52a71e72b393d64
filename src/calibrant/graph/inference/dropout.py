"""Dropout that drops nothing, because its rate is 0: multiplication by what is always 1, and Select by what is true."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.inference.dead_branches import same_shape
from calibrant.graph.inference.decided import decided_values
from calibrant.graph.tf_core import NodeDef

UNIFORM = frozenset({"RandomUniform", "StatelessRandomUniform", "StatelessRandomUniformV2", "StatefulUniform"})

_ARITHMETIC = frozenset({"Add", "AddV2", "Mul", "Sub"})
_COMPARISONS = frozenset({"Greater", "GreaterEqual", "Less", "LessEqual"})
_MIRRORED = {"Greater": "Less", "GreaterEqual": "LessEqual", "Less": "Greater", "LessEqual": "GreaterEqual"}
_FOLLOWED = _ARITHMETIC | _COMPARISONS | nd.PASS_THROUGH | {"Cast", "Floor"}


def without_idle_dropout(graph: Graph) -> Graph:
    """The graph without dropouts that keep everything."""
    masks = _Masks(graph)
    edit = graph.edit()
    idle = dict(masks.idle())
    if not idle:
        return graph
    divisors = _ones(graph, iter(idle.values()))
    for name, kept in idle.items():
        node = graph.nodes[name]
        controls = (f"^{control}" for control in nd.control_inputs(node))
        edit.put(nd.make_node("Identity", name, [divisors.get(kept, kept), *controls], T=nd.attribute(node, "T")))
    return edit.finish()


class _Masks:
    """The range, or the single value, of tensors computed from random numbers."""

    def __init__(self, graph: Graph):
        self._graph = graph
        self._ranges = {f"{node.name}:0": (0.0, 1.0) for node in graph.nodes.values() if node.op in UNIFORM}
        self._values: dict[str, float] = {}
        followed = _downstream(graph, list(self._ranges))
        operands = {tensor for name in followed for tensor in nd.data_inputs(graph.nodes[name])}
        self._constants = {
            tensor: float(value.flat[0])
            for tensor, value in decided_values(graph, sorted(operands)).items()
            if value.size == 1 and value.dtype.kind in "biufV"
        }
        for node in graph.nodes.values():
            if node.name in followed:
                self._follow(node)

    def idle(self) -> Iterator[tuple[str, str]]:
        """Each operation that a mask leaves without effect, with the operand that it hands on."""
        for node in self._graph.nodes.values():
            inputs = nd.data_inputs(node)
            kept: list[str] = []
            if node.op == "Mul":
                kept = [inputs[1 - index] for index in (0, 1) if self._values.get(inputs[index]) == 1]
            elif node.op in ("Select", "SelectV2") and inputs[0] in self._values:
                kept = [inputs[1 if self._values[inputs[0]] else 2]]
            if kept and self._has_the_shape(node, kept[0]):
                yield node.name, kept[0]

    def _has_the_shape(self, node: NodeDef, operand: str) -> bool:
        result = self._graph.shape(f"{node.name}:0")
        return node.op == "Select" or result is None or same_shape(result, self._graph.shape(operand))

    def _follow(self, node: NodeDef) -> None:
        result, inputs = f"{node.name}:0", nd.data_inputs(node)
        if node.op in nd.PASS_THROUGH or node.op == "Cast":
            if inputs[0] in self._values:
                self._values[result] = self._values[inputs[0]]
            elif inputs[0] in self._ranges and node.op != "Cast":
                self._ranges[result] = self._ranges[inputs[0]]
        elif node.op == "Floor" and inputs[0] in self._ranges:
            low, high = self._ranges[inputs[0]]
            if high <= np.floor(low) + 1:
                self._values[result] = float(np.floor(low))
        elif len(inputs) == 2:
            for index in (0, 1):
                if inputs[index] in self._ranges and inputs[1 - index] in self._constants:
                    self._combine(
                        node.op, result, self._ranges[inputs[index]], self._constants[inputs[1 - index]], index
                    )

    def _combine(self, op: str, result: str, bounds: tuple[float, float], constant: float, index: int) -> None:
        """A range and a constant; the range is operand ``index``."""
        low, high = bounds
        if op in ("Add", "AddV2") and abs(constant) <= 1:  # a sum with more could be rounded to the upper end
            self._ranges[result] = (low + constant, high + constant)
        elif op == "Sub" and index == 0 and abs(constant) <= 1:
            self._ranges[result] = (low - constant, high - constant)
        elif op == "Mul" and constant > 0:
            self._ranges[result] = (low * constant, high * constant)
        elif op in _COMPARISONS:
            comparison = op if index == 0 else _MIRRORED[op]
            above = low > constant if comparison in ("Greater", "LessEqual") else low >= constant
            if above or high <= constant:
                self._values[result] = float(above == comparison.startswith("Greater"))


def _downstream(graph: Graph, tensors: list[str]) -> set[str]:
    """The operations that random numbers go through on their way to a mask."""
    reached: set[str] = set()
    while tensors:
        for node, _ in graph.consumers(tensors.pop()):
            if node.op in _FOLLOWED and node.name not in reached:
                reached.add(node.name)
                tensors.append(f"{node.name}:0")
    return reached


def _ones(graph: Graph, tensors: Iterator[str]) -> dict[str, str]:
    """Quotients and products of something and the number 1 → that something."""
    scaled = {
        tensor: nd.data_inputs(graph.producer(tensor))
        for tensor in tensors
        if graph.producer(tensor).op in ("RealDiv", "Mul") and nd.split_tensor(tensor)[1] == 0
    }
    values = decided_values(graph, [tensor for inputs in scaled.values() for tensor in inputs])
    ones = {tensor for tensor, value in values.items() if value.shape == () and value == 1}
    result = {}
    for tensor, (first, second) in scaled.items():
        if second in ones:
            result[tensor] = first
        elif first in ones and graph.producer(tensor).op == "Mul":
            result[tensor] = second
    return result

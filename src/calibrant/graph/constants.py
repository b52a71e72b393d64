"""Values of tensors that depend on constants alone: weights read through Identity, factors of a decomposed norm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from weakref import WeakValueDictionary

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.tf_core import NodeDef

LARGE_BYTES = 1 << 25


def _reshape(node: NodeDef, value: np.ndarray, shape: np.ndarray) -> np.ndarray:
    return value.reshape(tuple(int(size) for size in shape))


def _squeeze(node: NodeDef, value: np.ndarray) -> np.ndarray:
    axes = nd.attribute(node, "squeeze_dims") or None
    return np.squeeze(value, tuple(axes) if axes else None)


def _cast(node: NodeDef, value: np.ndarray) -> np.ndarray:
    return value.astype(nd.attribute(node, "DstT").as_numpy_dtype)


OPERATIONS: dict[str, Callable[..., np.ndarray]] = {
    "Add": lambda node, a, b: a + b,
    "AddV2": lambda node, a, b: a + b,
    "BiasAdd": lambda node, a, b: a + b,
    "Sub": lambda node, a, b: a - b,
    "Mul": lambda node, a, b: a * b,
    "RealDiv": lambda node, a, b: a / b,
    "Neg": lambda node, a: -a,
    "Sqrt": lambda node, a: np.sqrt(a),
    "Rsqrt": lambda node, a: (1 / np.sqrt(a)).astype(a.dtype),
    "Reciprocal": lambda node, a: (1 / a).astype(a.dtype),
    "Square": lambda node, a: a * a,
    "ExpandDims": lambda node, a, axis: np.expand_dims(a, int(axis.item())),
    "Squeeze": _squeeze,
    "Reshape": _reshape,
    "Transpose": lambda node, a, permutation: np.transpose(a, permutation),
    "Cast": _cast,
}


class ConstantReader:
    """Reads constants of one graph and keeps what it has read; arrays above LARGE_BYTES only while others hold them."""

    def __init__(self, nodes: Mapping[str, NodeDef]):
        self._nodes = nodes
        self._values: dict[str, np.ndarray | None] = {}
        self._large: WeakValueDictionary[str, np.ndarray] = WeakValueDictionary()

    def __reduce__(self) -> tuple[type[ConstantReader], tuple[Mapping[str, NodeDef]]]:
        return ConstantReader, (self._nodes,)

    def for_nodes(self, nodes: Mapping[str, NodeDef]) -> ConstantReader:
        """A reader for a rewritten graph that has the arrays of the Const nodes which both share."""
        reader = ConstantReader(nodes)
        for tensor, value in self._values.items():
            name = nd.node_name(tensor)
            node = self._nodes.get(name)
            if node is not None and node.op == "Const" and nodes.get(name) is node:
                reader._values[tensor] = value
        for tensor, array in self._large.items():
            node = self._nodes[nd.node_name(tensor)]
            if node.op == "Const" and nodes.get(node.name) is node:
                reader._large[tensor] = array
        return reader

    def source(self, tensor: str) -> str | None:
        """Name of the Const node that a tensor comes from, through Identity and its kind."""
        name, index = nd.split_tensor(tensor)
        for _ in range(len(self._nodes)):
            node = self._nodes.get(name)
            if node is None or index != 0:
                return None
            if node.op == "Const":
                return name
            if node.op not in nd.PASS_THROUGH:
                return None
            name, index = nd.split_tensor(nd.data_inputs(node)[0])
        return None

    def require(self, tensor: str) -> np.ndarray:
        """The array of a tensor that is known to be constant.

        Raises
        ------
        KeyError
            The tensor depends on an input.
        """
        value = self.value(tensor)
        if value is None:
            raise KeyError(tensor)
        return value

    def value(self, tensor: str) -> np.ndarray | None:
        """The value of a tensor, or None. Walks without recursion, so that depth does not matter."""
        held = dict(self._large)
        stack = [tensor]
        while stack:
            current = stack[-1]
            if current in self._values or current in held:
                stack.pop()
                continue
            operands = self._operands(current)
            waiting = [name for name in operands or () if name not in self._values and name not in held]
            if waiting and len(stack) <= len(self._nodes):
                stack.extend(waiting)
                continue
            value = self._evaluate(current, operands, held)
            if value is not None and value.nbytes > LARGE_BYTES:
                held[current] = self._large[current] = value
            else:
                self._values[current] = value
            stack.pop()
        return held[tensor] if tensor in held else self._values[tensor]

    def _operands(self, tensor: str) -> tuple[str, ...] | None:
        name, index = nd.split_tensor(tensor)
        node = self._nodes.get(name)
        if node is None or index != 0:
            return None
        if node.op == "Const":
            return ()
        if node.op in nd.PASS_THROUGH or node.op in OPERATIONS:
            return nd.data_inputs(node)
        return None

    def _evaluate(
        self, tensor: str, operands: tuple[str, ...] | None, held: Mapping[str, np.ndarray]
    ) -> np.ndarray | None:
        if operands is None:
            return None
        node = self._nodes[nd.node_name(tensor)]
        if node.op == "Const":
            value = nd.constant_value(node)
        else:
            values = [held[name] if name in held else self._values.get(name) for name in operands]
            if any(value is None for value in values):
                return None
            if node.op in nd.PASS_THROUGH:
                return values[0]
            with np.errstate(all="ignore"):
                try:
                    value = np.asarray(OPERATIONS[node.op](node, *values))
                except ValueError:
                    return None
        value.flags.writeable = False
        return value

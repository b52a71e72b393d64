"""What rewriting products takes: operands transposed and reshaped, results put back into their shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef, dtypes

Factor = int | tuple[str, int]
"""A size: a number, or a tensor and its axis where the size shows only when the graph runs."""

Axis = Sequence[Factor]
"""The factors of one axis; none for an axis of size 1."""


class ProductEdit:
    """A rewrite of products. ``results`` maps the name of each rearranged result to the product that it was.

    Parameters
    ----------
    graph : Graph
        Is not changed.
    """

    def __init__(self, graph: Graph):
        self.graph = graph
        self.results: dict[str, str] = {}
        self._edit = graph.edit()
        self._dtype = dtypes.float32  # of the product at hand
        self._current = ""  # the product at hand, from where it is put into the graph
        self._products: set[str] = set()
        self._rearranging: set[str] = set()
        self._constants: dict[tuple[str, tuple[int, ...], tuple[int, ...]], str] = {}

    def constant(self, tensor: str, permutation: Sequence[int], shape: Sequence[int], name: str) -> str:
        """A constant transposed, then reshaped; what several products read in the same way is written down once."""
        value = self.graph.require_constant(tensor)
        order = tuple(permutation)
        if order == tuple(range(value.ndim)) and tuple(shape) == value.shape:
            return tensor
        key = (self.graph.constant_source(tensor) or nd.tensor_name(tensor), order, tuple(shape))
        if key not in self._constants:
            changed = np.ascontiguousarray(np.transpose(value, order)).reshape(shape)
            self._constants[key] = self._edit.add_constant(f"{name}/weights_transposed", changed)
        return self._constants[key]

    def transpose(self, tensor: str, permutation: Sequence[int], name: str) -> str:
        """An activation with its axes in another order; the tensor itself where the order is the same."""
        if tuple(permutation) == tuple(range(len(permutation))):
            return tensor
        order = self._edit.add_constant(f"{name}/axes", np.array(permutation, np.int32))
        return self._moved(
            self._edit.add("Transpose", name, [tensor, order], T=self._dtype, Tperm=dtypes.int32), tensor
        )

    def reshape(self, tensor: str, axes: Sequence[Axis], name: str) -> str:
        """An activation in another shape."""
        known = [math.prod(axis) if all(isinstance(factor, int) for factor in axis) else -1 for axis in axes]
        if known.count(-1) <= 1:
            shape = self._edit.add_constant(f"{name}/shape", np.array(known, np.int32))
        else:
            sizes = [self._size(axis, f"{name}/size_{index}") for index, axis in enumerate(axes)]
            shape = self._edit.add("Pack", f"{name}/shape", sizes, T=dtypes.int32, N=len(sizes), axis=0)
        return self._moved(self._edit.add("Reshape", name, [tensor, shape], T=self._dtype, Tshape=dtypes.int32), tensor)

    def _moved(self, tensor: str, source: str) -> str:
        """Remember what rearranges the result of a product: it goes on reading the product itself."""
        if nd.node_name(source) == self._current or nd.node_name(source) in self._rearranging:
            self._rearranging.add(nd.node_name(tensor))
        return tensor

    def _size(self, axis: Axis, name: str) -> str:
        """The scalar size of an axis."""
        numbers = [factor for factor in axis if isinstance(factor, int)]
        sizes = [self._size_of(*factor, name) for factor in axis if not isinstance(factor, int)]
        if numbers or not sizes:
            sizes.append(self._edit.add_constant(f"{name}/number", np.int32(math.prod(numbers))))
        while len(sizes) > 1:
            sizes.append(self._edit.add("Mul", name, [sizes.pop(), sizes.pop()], T=dtypes.int32))
        return sizes[0]

    def _size_of(self, tensor: str, axis: int, name: str) -> str:
        dtype = self.graph.dtype(tensor)
        whole = self._edit.add("Shape", f"{name}/of", [tensor], T=dtype, out_type=dtypes.int32)
        bounds = [
            self._edit.add_constant(f"{name}/{key}", np.array([value], np.int32))
            for key, value in (("begin", axis), ("end", axis + 1), ("stride", 1))
        ]
        attributes = {"T": dtypes.int32, "Index": dtypes.int32, "shrink_axis_mask": 1}
        return self._edit.add("StridedSlice", name, [whole, *bounds], **attributes)

    def begin(self, node: NodeDef) -> None:
        """Turn to another product: what is added from now on has its type."""
        self._dtype, self._current = type_of(node), ""

    def product(self, node: NodeDef, op: str, operands: Sequence[str], **attributes: Any) -> str:
        """Put a product in the place of a node, under its name; its tensor."""
        controls = [f"^{control}" for control in nd.control_inputs(node)]
        self._products.add(node.name)
        self._current = node.name
        return self._edit.put(nd.make_node(op, node.name, [*operands, *controls], **attributes))

    def result(self, node: NodeDef, tensor: str) -> None:
        """Let every reader of a node, and the graph's outputs, read its rearranged result; ends the product."""
        if nd.node_name(tensor) != node.name:
            self.results[nd.node_name(tensor)] = node.name

    def finish(self) -> Graph:
        """The new graph; the old one where nothing was rewritten."""
        if not self._products:
            return self.graph
        moved = {f"{name}:0": f"{result}:0" for result, name in self.results.items()}
        for node in list(self._edit.nodes.values()):
            for index, tensor in enumerate(nd.data_inputs(node)):
                if tensor in moved and node.name not in self._rearranging:
                    self._edit.set_input(node.name, index, moved[tensor])
        return self._edit.finish(outputs=tuple(moved.get(tensor, tensor) for tensor in self.graph.outputs))


def type_of(node: NodeDef) -> Any:
    """The type that a product computes in; BatchMatMulV3 has one of its own for its result."""
    return nd.attribute(node, "T") or nd.attribute(node, "Tout")

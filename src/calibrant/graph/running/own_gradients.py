"""Gradients as nodes of the graph itself, for networks of common operations.

TensorFlow's functions make a node at a time, in Python, and those of layers make the gradients by the weights as well.
In a MatMul the weights are transposed by themselves: the product is then the kernel that the network itself has
started, which saves some 8 ms on ds_cnn, once in a process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.builder import NodeBuilder
from calibrant.graph.graph import Graph
from calibrant.graph.running.partial_runs import nodes_reached
from calibrant.graph.tf_core import NodeDef, dtypes

_SCOPE = "gradients"


@dataclass(frozen=True, eq=False)
class WithGradients:
    """A graph with gradients of its outputs.

    Parameters
    ----------
    graph : Graph
        The graph.
    weights : tuple[str, ...]
        For each output the tensor to feed with its weights.
    by : dict[str, str]
        Tensor → the gradient of the weighted sum by it; without those that no output of real numbers depends on.
    """

    graph: Graph
    weights: tuple[str, ...]
    by: dict[str, str]


def with_own_gradients(graph: Graph, tensors: Sequence[str], outputs: Sequence[str]) -> WithGradients | None:
    """The graph with these gradients; None where an operation between the tensors and the outputs is not known here.

    Parameters
    ----------
    graph : Graph
        The model.
    tensors : Sequence[str]
        What the gradients are by.
    outputs : Sequence[str]
        Tensors that are summed up.
    """
    writer = _Writer(graph.nodes)
    moving = nodes_reached(nd.readers(graph.nodes), map(nd.node_name, tensors))
    given: dict[str, list[str]] = {}
    weights = []
    for output in outputs:
        dtype = _dtype(graph, output)
        weights.append(writer.add("Placeholder", f"{_SCOPE}/weights", [], dtype=dtype))
        if dtype.is_floating:
            given.setdefault(output, []).append(weights[-1])
    by: dict[str, str] = {}
    for node in reversed(list(graph.nodes.values())):
        tensor = f"{node.name}:0"
        parts = given.get(tensor) if node.name in moving else None
        if parts is None:
            continue
        whole = parts[0] if len(parts) == 1 else writer.write(node, "AddN", parts, N=len(parts))
        if tensor in tensors:
            by[tensor] = whole
        read = nd.data_inputs(node)
        followed = [place for place, name in enumerate(read) if nd.node_name(name) in moving]
        if not followed:
            continue
        kind = _KINDS.get(node.op)
        if kind is None or max(followed) >= kind.followed or not kind.is_fit(node):
            return None
        for place, gradient in zip(followed, kind.write(writer, node, whole, followed), strict=True):
            given.setdefault(read[place], []).append(gradient)
    return WithGradients(replace(graph, nodes=writer.nodes), tuple(weights), by)


def _dtype(graph: Graph, tensor: str) -> Any:
    """That of an operation that is known here is an attribute, and needs no shapes of the whole graph."""
    node = graph.producer(tensor)
    return nd.attribute(node, "T") if node.op in _KINDS else graph.dtype(tensor)


class _Writer(NodeBuilder):
    def write(self, node: NodeDef, op: str, inputs: Sequence[str], *copied: str, **attributes: object) -> str:
        """Add a node of the same type, with attributes copied as well."""
        own = {key: node.attr[key] for key in ("T", *copied) if key in node.attr}
        return self.add(op, f"{_SCOPE}/{node.name}/{op}", inputs, **own, **attributes)

    def shape(self, node: NodeDef, tensor: str) -> str:
        """The sizes of a tensor that a node reads."""
        return self.write(node, "Shape", [tensor])


def _passed_on(writer: _Writer, node: NodeDef, gradient: str, followed: Sequence[int]) -> list[str]:
    return [gradient]


def _of_relu(writer: _Writer, node: NodeDef, gradient: str, followed: Sequence[int]) -> list[str]:
    return [writer.write(node, f"{node.op}Grad", [gradient, f"{node.name}:0"])]


def _of_convolution(writer: _Writer, node: NodeDef, gradient: str, followed: Sequence[int]) -> list[str]:
    data, weights = nd.data_inputs(node)
    kinds = ("strides", "padding", "explicit_paddings", "data_format", "dilations")
    return [writer.write(node, f"{node.op}BackpropInput", [writer.shape(node, data), weights, gradient], *kinds)]


def _of_product(writer: _Writer, node: NodeDef, gradient: str, followed: Sequence[int]) -> list[str]:
    turn = writer.add_constant(f"{_SCOPE}/{node.name}/turn", np.array([1, 0], np.int32))
    turned = writer.write(node, "Transpose", [nd.data_inputs(node)[1], turn], Tperm=dtypes.int32)
    return [writer.write(node, "MatMul", [gradient, turned])]


def _of_pooling(writer: _Writer, node: NodeDef, gradient: str, followed: Sequence[int]) -> list[str]:
    sizes = writer.shape(node, nd.data_inputs(node)[0])
    return [writer.write(node, "AvgPoolGrad", [sizes, gradient], "ksize", "strides", "padding", "data_format")]


def _of_other_shape(writer: _Writer, node: NodeDef, gradient: str, followed: Sequence[int]) -> list[str]:
    return [writer.write(node, "Reshape", [gradient, writer.shape(node, nd.data_inputs(node)[0])])]


def _of_sum(writer: _Writer, node: NodeDef, gradient: str, followed: Sequence[int]) -> list[str]:
    sizes = [writer.shape(node, tensor) for tensor in nd.data_inputs(node)]
    axes = nd.node_name(writer.add("BroadcastGradientArgs", f"{_SCOPE}/{node.name}/axes", sizes, T=dtypes.int32))
    sums = [writer.write(node, "Sum", [gradient, f"{axes}:{place}"], Tidx=dtypes.int32) for place in followed]
    return [writer.write(node, "Reshape", [total, sizes[place]]) for place, total in zip(followed, sums, strict=True)]


def _is_plain(node: NodeDef) -> bool:
    return not (nd.attribute(node, "transpose_a") or nd.attribute(node, "transpose_b"))


@dataclass(frozen=True)
class _Kind:
    """How the gradients by some inputs of an operation follow from that by its output.

    ``followed`` is the number of inputs, the first ones, by which there are gradients.
    """

    write: Callable[[_Writer, NodeDef, str, Sequence[int]], list[str]]
    followed: int = 1
    is_fit: Callable[[NodeDef], bool] = lambda node: True


_KINDS = {
    "Identity": _Kind(_passed_on),
    "BiasAdd": _Kind(_passed_on),
    "Relu": _Kind(_of_relu),
    "Relu6": _Kind(_of_relu),
    "Conv2D": _Kind(_of_convolution),
    "DepthwiseConv2dNative": _Kind(_of_convolution),
    "MatMul": _Kind(_of_product, is_fit=_is_plain),
    "AvgPool": _Kind(_of_pooling),
    "Reshape": _Kind(_of_other_shape),
    "Squeeze": _Kind(_of_other_shape),
    "AddV2": _Kind(_of_sum, followed=2),
}

"""Gradients of layers by their data alone.

TensorFlow's functions make those by the weights as well, which nobody fetches here. In a MatMul the weights are
transposed by themselves: the product is then the kernel that the network itself has started, which saves some 8 ms on
ds_cnn, once in a process.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import replace
from functools import cache
from typing import Any

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tensorflow import tensorflow
from calibrant.graph.tf_core import NodeDef

_PREFIX = "CalibrantByData"


def with_own_gradients(graph: Graph, moving: Container[str]) -> Graph:
    """A graph whose layers have these gradients, to be asked for with ``tf.gradients``.

    Parameters
    ----------
    graph : Graph
        The model.
    moving : Container[str]
        The nodes that depend on the inputs; a layer with weights among them keeps TensorFlow's gradient.
    """
    _register()
    nodes = {name: _marked(node) if _is_fit(node, moving) else node for name, node in graph.nodes.items()}
    return replace(graph, nodes=nodes)


def _is_fit(node: NodeDef, moving: Container[str]) -> bool:
    if node.op not in _GRADIENTS or any(nd.node_name(weights) in moving for weights in nd.data_inputs(node)[1:]):
        return False
    return node.op != "MatMul" or not (nd.attribute(node, "transpose_a") or nd.attribute(node, "transpose_b"))


def _marked(node: NodeDef) -> NodeDef:
    result = nd.copy_node(node)
    nd.set_attribute(result, "_gradient_op_type", f"{_PREFIX}{node.op}")
    return result


@cache
def _register() -> None:
    for op, gradient in _GRADIENTS.items():
        tensorflow().RegisterGradient(f"{_PREFIX}{op}")(gradient)


def _of_convolution(operation: Any, gradient: Any) -> tuple[Any, None]:
    return _backwards(tensorflow().raw_ops.Conv2DBackpropInput, operation, gradient), None


def _of_depthwise_convolution(operation: Any, gradient: Any) -> tuple[Any, None]:
    return _backwards(tensorflow().raw_ops.DepthwiseConv2dNativeBackpropInput, operation, gradient), None


def _backwards(make: Callable[..., Any], operation: Any, gradient: Any) -> Any:
    data, weights = operation.inputs
    text = {key: operation.get_attr(key).decode() for key in ("padding", "data_format")}
    numbers = {key: operation.get_attr(key) for key in ("strides", "explicit_paddings", "dilations")}
    sizes = tensorflow().raw_ops.Shape(input=data)
    return make(input_sizes=sizes, filter=weights, out_backprop=gradient, **text, **numbers)


def _of_product(operation: Any, gradient: Any) -> tuple[Any, None]:
    raw = tensorflow().raw_ops
    return raw.MatMul(a=gradient, b=raw.Transpose(x=operation.inputs[1], perm=[1, 0])), None


def _of_bias(operation: Any, gradient: Any) -> tuple[Any, None]:
    return gradient, None


_GRADIENTS: dict[str, Callable[[Any, Any], tuple[Any, None]]] = {
    "Conv2D": _of_convolution,
    "DepthwiseConv2dNative": _of_depthwise_convolution,
    "MatMul": _of_product,
    "BiasAdd": _of_bias,
}

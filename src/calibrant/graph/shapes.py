"""Static shapes and dtypes, by TensorFlow's own shape functions, without copying the weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from calibrant.graph import nodes as nd
from calibrant.graph.tensorflow import tensorflow
from calibrant.graph.tf_core import FunctionDefLibrary, GraphDef, NodeDef, VersionDef

LARGE = 1024  # elements


def infer_shapes(
    nodes: Iterable[NodeDef], library: FunctionDefLibrary, versions: VersionDef
) -> dict[str, tuple[nd.OpenShape | None, Any]]:
    """Shape and dtype of every output of every node. Large constants take part as placeholders of their shape."""
    tf = tensorflow()
    skeleton = GraphDef(versions=versions, library=library)
    for node in nodes:
        skeleton.node.append(_light(node))
    with tf.Graph().as_default() as imported:
        tf.graph_util.import_graph_def(skeleton, name="")
    result = {}
    for operation in imported.get_operations():
        for tensor in operation.outputs:
            shape = tuple(tensor.shape.as_list()) if tensor.shape.rank is not None else None
            result[tensor.name] = (shape, tensor.dtype)
    return result


def _light(node: NodeDef) -> NodeDef:
    if node.op != "Const" or nd.elements(node.attr["value"].tensor.tensor_shape) < LARGE:
        return node
    placeholder = nd.make_node("Placeholder", node.name, [], dtype=node.attr["dtype"])
    placeholder.attr["shape"].shape.CopyFrom(node.attr["value"].tensor.tensor_shape)
    return placeholder

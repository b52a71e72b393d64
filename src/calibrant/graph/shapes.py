"""Static shapes and dtypes, by TensorFlow's own shape functions, without copying the weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from calibrant.collector import collector_paused
from calibrant.graph import nodes as nd
from calibrant.graph.builder import NodeBuilder
from calibrant.graph.tensorflow import tensorflow
from calibrant.graph.tf_core import FunctionDefLibrary, GraphDef, NodeDef, VersionDef, dtypes

LARGE_ELEMENTS = 1024


def infer_shapes(
    nodes: Iterable[NodeDef], library: FunctionDefLibrary, versions: VersionDef
) -> dict[str, tuple[nd.OpenShape | None, Any]]:
    """Shape and dtype of every output of every node. Large constants take part as placeholders of their shape."""
    tf = tensorflow()
    skeleton = NodeBuilder({node.name: _light(node) for node in nodes})
    names = list(skeleton.nodes)
    for name in names:
        _split_gathered_sizes(skeleton, name)
    with collector_paused():
        with tf.Graph().as_default() as imported:
            graph_def = GraphDef(node=skeleton.nodes.values(), versions=versions, library=library)
            tf.graph_util.import_graph_def(graph_def, name="")
        result = {}
        for name in names:
            for tensor in imported.get_operation_by_name(name).outputs:
                shape = tuple(tensor.shape.as_list()) if tensor.shape.rank is not None else None
                result[tensor.name] = (shape, tensor.dtype)
    return result


def _light(node: NodeDef) -> NodeDef:
    if node.op != "Const" or nd.elements(node.attr["value"].tensor.tensor_shape) < LARGE_ELEMENTS:
        return node
    placeholder = nd.make_node("Placeholder", node.name, [], dtype=node.attr["dtype"])
    placeholder.attr["shape"].shape.CopyFrom(node.attr["value"].tensor.tensor_shape)
    return placeholder


def _split_gathered_sizes(skeleton: NodeBuilder, name: str) -> None:
    """Write sizes that are gathered out of a shape, as tf.tensordot does, one by one: so TensorFlow follows them."""
    node = skeleton.nodes[name]
    if node.op not in ("Gather", "GatherV2") or node.attr["Tparams"].type != dtypes.int32.as_datatype_enum:
        return
    read = [skeleton.nodes.get(nd.node_name(tensor)) for tensor in nd.data_inputs(node)]
    ops = [each.op if each is not None else None for each in read]
    if ops not in (["Shape", "Const"], ["Shape", "Const", "Const"]):
        return
    sizes = nd.data_inputs(node)[0]
    indices, *axis = (nd.constant_value(each) for each in read[1:] if each is not None)
    if indices.ndim != 1 or not indices.size or any(np.any(value) for value in axis):
        return
    step = skeleton.add_constant(f"{name}/step", np.array([1], np.int32))
    found = []
    for index in indices.tolist():
        ends = [skeleton.add_constant(f"{name}/{end}", np.array([end], np.int32)) for end in (index, index + 1)]
        kinds = {"T": dtypes.int32, "Index": dtypes.int32, "shrink_axis_mask": 1}
        found.append(skeleton.add("StridedSlice", f"{name}/size", [sizes, *ends, step], **kinds))
    controls = (f"^{control}" for control in nd.control_inputs(node))
    skeleton.put(nd.make_node("Pack", name, [*found, *controls], T=dtypes.int32, N=len(found), axis=0))

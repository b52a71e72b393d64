"""``tf.image.non_max_suppression_padded``, made of loops and branches, as the operation that selects the same boxes.

LiteRT has an operator for it, and its loops would hold thousands of comparisons in float.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.control_flow import CALLS
from calibrant.graph.tensorflow import tensorflow
from calibrant.graph.tf_core import FunctionDefLibrary, GraphDef, NodeDef, dtypes

_IMPLEMENTS = b"non_max_suppression_padded_v2"


def selecting_functions(library: FunctionDefLibrary) -> frozenset[str]:
    """The functions of TensorFlow's that select boxes."""
    return frozenset(each.signature.name for each in library.function if each.attr["_implements"].s == _IMPLEMENTS)


def with_selections(graph_def: GraphDef, functions: Collection[str]) -> GraphDef:
    """The graph with operations in place of the calls of these functions with the boxes of one sample."""
    tf = tensorflow()
    calls = [node for node in graph_def.node if node.op in CALLS and node.attr["f"].func.name in functions]
    with tf.Graph().as_default() as imported:
        tf.graph_util.import_graph_def(graph_def, name="")
    alone = {node.name for node in calls if imported.get_operation_by_name(node.name).inputs[0].shape.rank == 2}
    if not alone:
        return graph_def
    result = GraphDef(library=graph_def.library, versions=graph_def.versions)
    for node in graph_def.node:
        result.node.extend(_selection(node) if node.name in alone else [node])
    return result


def _selection(call: NodeDef) -> list[NodeDef]:
    """The operation, and what gives its results the name and places of the call's."""
    selecting = nd.make_node("NonMaxSuppressionV4", f"{call.name}/selected", [], pad_to_max_output_size=True)
    for key in ("T", "T_threshold"):
        nd.set_attribute(selecting, key, dtypes.float32)
    controls = [reference for reference in call.input if reference.startswith("^")]
    selecting.input.extend([*call.input[:5], *controls])
    axis = nd.constant_node(f"{call.name}/axis", np.array(0, np.int32))
    kinds = {"T": dtypes.int32, "Tdim": dtypes.int32}
    one = nd.make_node("ExpandDims", f"{call.name}/of_one_sample", [selecting.name, axis.name], **kinds)
    ends = nd.make_node("IdentityN", call.name, [one.name, f"{selecting.name}:1"])
    ends.attr["T"].list.type.extend([dtypes.int32.as_datatype_enum] * 2)
    return [selecting, axis, one, ends]

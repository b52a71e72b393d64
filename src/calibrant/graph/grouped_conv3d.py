"""Three-dimensional convolutions with groups, which TensorFlow computes only where XLA compiles them.

Keras marks them so; in a graph that is run node by node there is no kernel. One convolution for each group gives the
same numbers.
"""

from __future__ import annotations

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.tf_core import NodeDef, dtypes


def split_groups(graph: Graph) -> Graph:
    """The graph with a Conv3D for each group of channels; the parts are put together under the name of the whole."""
    convolutions = [node for node in graph.nodes.values() if node.op == "Conv3D"]
    groups = {node.name: _groups(graph, node) for node in convolutions}
    if not any(number > 1 for number in groups.values()):
        return graph
    edit = graph.edit()
    for node in convolutions:
        if groups[node.name] > 1:
            _split(edit, node, groups[node.name])
    return edit.finish()


def _groups(graph: Graph, node: NodeDef) -> int:
    data, weights = nd.data_inputs(node)
    shape, kernel = graph.shape(data), graph.constant(weights)
    channels = shape[_axis(node)] if shape and len(shape) == 5 else None
    return 1 if kernel is None or channels is None else channels // kernel.shape[3]


def _axis(node: NodeDef) -> int:
    return 1 if nd.attribute(node, "data_format") == "NCDHW" else 4


def _split(edit: Edit, node: NodeDef, groups: int) -> None:
    data, weights = nd.data_inputs(node)
    kernels = np.split(edit.graph.require_constant(weights), groups, axis=4)
    dtype = nd.attribute(node, "T")
    axis = edit.add_constant(f"{node.name}/axis", np.array(_axis(node), np.int32))
    parts = nd.node_name(edit.add("Split", f"{node.name}/groups", [axis, data], T=dtype, num_split=groups))
    made = []
    for place, kernel in enumerate(kernels):
        constant = edit.add_constant(f"{node.name}/group{place}/weights", kernel)
        name = edit.free_name(f"{node.name}/group{place}")
        made.append(edit.put(nd.copy_node(node, [f"{parts}:{place}", constant], name)))
    inputs = [*made, axis, *nd.control_references(node)]
    edit.put(nd.make_node("ConcatV2", node.name, inputs, N=groups, T=dtype, Tidx=dtypes.int32))

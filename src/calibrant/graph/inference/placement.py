"""Nodes without what ties them to the machine and the run that made them."""

from __future__ import annotations

from calibrant.graph import nodes as nd
from calibrant.graph.tf_core import NodeDef

_OF_THE_RUN = ("_class", "_output_shapes", "_gradient_op_type")
"""Attributes that mean something in the process that wrote them: devices, shapes that some files have wrong, and the
number of a gradient, as of Keras' swish."""


def without_placement(node: NodeDef) -> NodeDef:
    """The node without device, neighbours and names of functions; itself where it has none of them."""
    if not (node.device or any(key in node.attr for key in _OF_THE_RUN) or node.HasField("experimental_debug_info")):
        return node
    free = nd.copy_node(node)
    free.device = ""
    for key in _OF_THE_RUN:
        free.attr.pop(key, None)
    free.ClearField("experimental_debug_info")
    return free

"""Activations behind convolutions over sequences, which are computed as images of one row.

An activation is fused into a convolution that is right in front of it: it is computed before the row is taken out.
"""

from __future__ import annotations

from collections.abc import Mapping

from calibrant.emit.tflite.conversion.converter_names import ACTIVATIONS
from calibrant.emit.tflite.rewrites.dilated import dilated
from calibrant.emit.tflite.rewrites.unread_edges import CONVOLUTIONS
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.tf_core import NodeDef


def activation_behind(graph: Graph, name: str) -> NodeDef | None:
    """The activation that runs in the kernel of a layer, behind what only moves its numbers.

    Parameters
    ----------
    name : str
        The last node of the layer, its bias where it has one.
    """
    node = graph.nodes[name]
    while (reader := graph.only_consumer(node.name)) is not None:
        node = reader[0]
        if node.op in ACTIVATIONS:
            return node
        if not (_takes_rows_out(graph, node) or dilated(graph, node) is not None):
            return None
    return None


def activate_images(edit: Edit) -> Mapping[str, str]:
    """Compute such activations of images; tensor → the tensor that has its numbers."""
    graph, twins = edit.graph, {}
    for node in list(edit.nodes.values()):
        if not _takes_rows_out(graph, node) or (reader := graph.only_consumer(node.name)) is None:
            continue
        activation = reader[0]
        if activation.op not in ACTIVATIONS or nd.control_inputs(activation) or nd.control_inputs(node):
            continue
        image = edit.add(activation.op, f"{activation.name}/image", nd.data_inputs(node), **activation.attr)
        edit.put(nd.make_node("Squeeze", activation.name, [image], **node.attr))
        twins[f"{activation.name}:0"] = image
    return twins


def _takes_rows_out(graph: Graph, node: NodeDef) -> bool:
    """Whether a node makes sequences of what a convolution over images of one row makes."""
    if node.op != "Squeeze" or nd.attribute(node, "squeeze_dims") not in ([1], [-3]):
        return False
    made = graph.producer(nd.data_inputs(node)[0])
    if dilated(graph, made) is not None and graph.only_consumer(made.name) is not None:
        return True
    if made.op == "BiasAdd" and graph.only_consumer(made.name) is not None:
        made = graph.producer(nd.data_inputs(made)[0])
    is_alone = graph.only_consumer(made.name) is not None and nd.attribute(made, "data_format", "NHWC") == "NHWC"
    return made.op in CONVOLUTIONS and is_alone

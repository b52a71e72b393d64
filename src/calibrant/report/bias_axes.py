"""A warning about biases that are added along another axis than that of the channels."""

from __future__ import annotations

from calibrant.graph.channel_order import adds_along_channels
from calibrant.graph.graph import Graph
from calibrant.layer_kinds import KINDS


def bias_axis_warnings(graph: Graph) -> list[str]:
    """One sentence, if there are any: Keras writes such a bias where it is as long as the last axis."""
    found = [
        (node.name, layer.name)
        for node in graph.nodes.values()
        if node.op == "BiasAdd"
        and (layer := graph.producer(node.input[0])).op in KINDS
        and not adds_along_channels(layer, node)
    ]
    if not found:
        return []
    (name, layer), others = found[0], len(found) - 1
    more = f" and {others} more biases are" if others else " is"
    return [
        f"{name!r}{more} added along the last axis, as the graph says, but the channels of {layer!r} are the first: "
        "TensorFlow adds along the channels where it fuses the two, as in predict() of Keras; give the convolution "
        "another number of filters than the width of its result, or channels last"
    ]

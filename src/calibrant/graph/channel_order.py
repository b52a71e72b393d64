"""Nodes whose attributes say that channels are the first axis after the samples, and the same with channels last."""

from __future__ import annotations

from calibrant.graph import nodes as nd
from calibrant.graph.tf_core import NodeDef

TO_LAST = {3: (0, 2, 1), 4: (0, 2, 3, 1), 5: (0, 2, 3, 4, 1)}
TO_FIRST = {3: (0, 2, 1), 4: (0, 3, 1, 2), 5: (0, 4, 1, 2, 3)}
"""By the number of axes, the order of them in a transposition."""
_FORMATS = {"NCHW": "NHWC", "NCDHW": "NDHWC"}
_LISTS = ("strides", "ksize", "dilations")


def is_channels_first(node: NodeDef) -> bool:
    """Whether a node computes with channels first."""
    return nd.attribute(node, "data_format") in _FORMATS


def adds_along_channels(layer: NodeDef, bias: NodeDef) -> bool:
    """Whether a BiasAdd that reads a layer adds along its channels; the default adds along the last axis."""
    return not is_channels_first(layer) or is_channels_first(bias)


def with_channels_last(node: NodeDef, inputs: list[str], rank: int) -> NodeDef:
    """A copy of a node with channels first that computes the same with channels last.

    Parameters
    ----------
    inputs : list[str]
        What it reads instead.
    rank : int
        Number of axes, 4 or 5; 3 for a BiasAdd.
    """
    twin = nd.copy_node(node, inputs)
    nd.set_attribute(twin, "data_format", _FORMATS[nd.attribute(node, "data_format")])
    for key in _LISTS:
        values = nd.attribute(node, key)
        if values:
            twin.attr[key].Clear()
            nd.set_attribute(twin, key, [values[axis] for axis in TO_LAST[rank]])
    paddings = nd.attribute(node, "explicit_paddings")
    if paddings:
        pairs = [paddings[2 * axis : 2 * axis + 2] for axis in TO_LAST[rank]]
        twin.attr["explicit_paddings"].Clear()
        nd.set_attribute(twin, "explicit_paddings", [size for pair in pairs for size in pair])
    return twin

"""Sizes that a graph asks of a tensor and that are known although others, mostly the number of samples, are open."""

from __future__ import annotations

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef

PICKING = frozenset({"StridedSlice", "GatherV2"})


def with_known_sizes(graph: Graph) -> Graph:
    """The graph with constants in the place of known sizes: a kernel tiled for the channels is constant with them."""
    edit, found = graph.edit(), False
    for node in graph.nodes.values():
        if node.op in PICKING and node.name not in graph.regions and not nd.control_inputs(node):
            sizes = picked_sizes(graph, node)
            if sizes is not None:
                edit.put(nd.constant_node(node.name, sizes))
                found = True
    return edit.finish() if found else graph


def picked_sizes(graph: Graph, node: NodeDef) -> np.ndarray | None:
    """What a node picks of a shape, if all of it is known."""
    asked = graph.producer(nd.data_inputs(node)[0])
    if asked.op != "Shape" or nd.control_inputs(asked):
        return None
    shape = graph.shape(nd.data_inputs(asked)[0])
    if shape is None:
        return None
    axes = picked_axes(graph, node, np.arange(len(shape)))
    if axes is None or any(shape[axis] is None for axis in axes.flat):
        return None
    dtype = graph.dtype(f"{asked.name}:0").as_numpy_dtype
    return np.array([shape[axis] for axis in axes.flat], dtype).reshape(axes.shape)


def picked_axes(graph: Graph, node: NodeDef, axes: np.ndarray) -> np.ndarray | None:
    """The axes whose sizes a node picks, in its result's shape."""
    given = [graph.constant(tensor) for tensor in nd.data_inputs(node)[1:]]
    known = [value for value in given if value is not None]
    if len(known) < len(given):
        return None
    try:
        if node.op == "GatherV2":
            return axes[known[0]] if not nd.attribute(node, "batch_dims") else None
        first, last, step = (int(value.item()) for value in known)
        if nd.attribute(node, "ellipsis_mask") or nd.attribute(node, "new_axis_mask"):
            return None
        if nd.attribute(node, "shrink_axis_mask"):
            return axes[first]
        ends = (nd.attribute(node, key) for key in ("begin_mask", "end_mask"))
        begin, end = (None if masked else place for masked, place in zip(ends, (first, last), strict=True))
        return axes[begin:end:step]
    except (ValueError, IndexError):  # of numbers that TensorFlow refuses as well, or several at once
        return None

"""Averages over whole images, whichever way they are written."""

from __future__ import annotations

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef


def image_axes(node: NodeDef) -> tuple[int, int]:
    """Height and width."""
    return (2, 3) if nd.attribute(node, "data_format") == "NCHW" else (1, 2)


def is_global_pool(graph: Graph, node: NodeDef) -> bool:
    """Whether an AvgPool has one window, which covers the image and nothing else."""
    shape, window = graph.shape(nd.data_inputs(node)[0]), nd.attribute(node, "ksize")
    steps, padding = nd.attribute(node, "strides"), nd.attribute(node, "padding")
    if shape is None or len(shape) != 4:
        return False
    return all(
        shape[axis] == window[axis] and (padding == "VALID" or steps[axis] >= window[axis]) for axis in image_axes(node)
    ) and all(window[axis] == 1 for axis in range(4) if axis not in image_axes(node))


def is_global_mean(graph: Graph, node: NodeDef) -> bool:
    """Whether a Mean is taken over height and width of a batch of images."""
    tensor, axes = nd.data_inputs(node)[:2]
    shape, value = graph.shape(tensor), graph.constant(axes)
    if shape is None or len(shape) != 4 or value is None:
        return False
    return sorted(int(axis) % 4 for axis in np.atleast_1d(value)) in ([1, 2], [2, 3])

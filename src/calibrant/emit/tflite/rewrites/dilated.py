"""Convolutions between SpaceToBatch and BatchToSpace as dilated ones.

``atrous_conv2d`` writes them so, and ``conv1d`` with dilations, where sequences become images of one row in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from calibrant.emit.tflite.rewrites.unread_edges import CONVOLUTIONS
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.tf_core import NodeDef, dtypes


@dataclass(frozen=True)
class Dilated:
    """A convolution that steps over positions, in three nodes, or four with its bias.

    Parameters
    ----------
    spread, conv, gathered : NodeDef
        The positions as samples, the convolution, and the positions as they were.
    bias : NodeDef | None
        What is added in between.
    row : NodeDef | None
        What makes an image of one row of a sequence, behind ``spread``.
    steps, padding : np.ndarray
        Of an image: [2], and [2, 2]; of a volume: [3], and [3, 2].
    """

    spread: NodeDef
    conv: NodeDef
    bias: NodeDef | None
    gathered: NodeDef
    row: NodeDef | None
    steps: np.ndarray
    padding: np.ndarray


def as_dilated(edit: Edit) -> Mapping[str, str]:
    """Compute such convolutions at once; tensor → the tensor that has its numbers, and at most zeros besides."""
    graph, twins = edit.graph, {}
    for node in list(edit.nodes.values()):
        found = dilated(graph, node)
        if found is not None and found.conv.op in CONVOLUTIONS:
            twins[f"{(found.row or found.spread).name}:0"] = _put(edit, found)
            if found.row is None:
                twins[f"{(found.bias or found.conv).name}:0"] = f"{node.name}:0"
    return twins


def dilated(graph: Graph, gathered: NodeDef) -> Dilated | None:
    """The convolution whose positions a node gathers; None where there is none."""
    if gathered.op != "BatchToSpaceND":
        return None
    made = graph.producer(nd.data_inputs(gathered)[0])
    squeeze = made if _is_of_rows(graph, made, "Squeeze") else None
    conv = made = graph.producer(nd.data_inputs(made)[0]) if squeeze is not None else made
    if made.op == "BiasAdd" and graph.only_consumer(made.name) is not None:
        conv = graph.producer(nd.data_inputs(made)[0])
    if conv.op not in (*CONVOLUTIONS, "Conv3D") or graph.only_consumer(conv.name) is None or not _steps_once(conv):
        return None
    spread = graph.producer(nd.data_inputs(conv)[0])
    row = spread if squeeze is not None and _is_of_rows(graph, spread, "ExpandDims") else None
    spread = graph.producer(nd.data_inputs(spread)[0]) if row is not None else spread
    if spread.op != "SpaceToBatchND" or graph.only_consumer(spread.name) is None or (row is None) != (squeeze is None):
        return None
    nodes = [node for node in (spread, row, conv, made, squeeze, gathered) if node is not None]
    sizes = [graph.constant(tensor) for node in (spread, gathered) for tensor in nd.data_inputs(node)[1:]]
    if any(size is None for size in sizes) or any(nd.control_inputs(node) for node in nodes):
        return None
    steps, padded, again, cropped = (np.asarray(size) for size in sizes)
    axes = 3 if conv.op == "Conv3D" else 2 if row is None else 1
    padding = padded - cropped if padded.shape == cropped.shape == (axes, 2) else np.array([-1])
    if not np.array_equal(steps, again) or (padding < 0).any():
        return None
    if row is not None:
        steps, padding = np.concatenate([[1], steps]), np.concatenate([[[0, 0]], padding])
    return Dilated(spread, conv, None if made is conv else made, gathered, row, steps, padding)


def _is_of_rows(graph: Graph, node: NodeDef, op: str) -> bool:
    """Whether a node adds or takes the axis of the rows, for one reader."""
    if node.op != op or graph.only_consumer(node.name) is None:
        return False
    value = graph.constant(nd.data_inputs(node)[1]) if op == "ExpandDims" else nd.attribute(node, "squeeze_dims")
    return value is not None and np.ravel(value).tolist() in ([1], [-3])


def _steps_once(conv: NodeDef) -> bool:
    """Whether a convolution reads each position, and no position beyond the edges."""
    ones = {*(nd.attribute(conv, "strides") or [1]), *(nd.attribute(conv, "dilations") or [1])} == {1}
    is_last = nd.attribute(conv, "data_format", "NHWC") in ("NHWC", "NDHWC")
    return ones and is_last and nd.attribute(conv, "padding") == "VALID"


def _put(edit: Edit, found: Dilated) -> str:
    """Write the convolution, its result under the name of what gathered it; what it reads."""
    conv, name = found.conv, found.gathered.name
    read, weights = nd.data_inputs(found.spread)[0], nd.data_inputs(conv)[1]
    if found.row is not None:
        edit.put(nd.copy_node(found.row, [read, nd.data_inputs(found.row)[1]]))
        read = f"{found.row.name}:0"
    kernel = edit.graph.shape(weights)
    is_padded = kernel is not None and None not in kernel[:2] and is_same(found, np.array(kernel[:2]))
    if not is_padded and found.padding.any():
        sizes = np.concatenate([np.zeros((1, 2)), found.padding, np.zeros((1, 2))]).astype(np.int32)
        paddings = edit.add_constant(f"{name}/paddings", sizes)
        read = edit.add("Pad", f"{name}/padded", [read, paddings], T=conv.attr["T"], Tpaddings=dtypes.int32)
    padding = "SAME" if is_padded else "VALID"
    attributes = {**conv.attr, "padding": padding, "dilations": [1, *map(int, found.steps), 1]}
    end = name if found.row is None else (found.bias or conv).name
    made = end if found.bias is None else conv.name
    edit.put(nd.make_node(conv.op, made, [read, weights], **attributes))
    if found.bias is not None:
        edit.put(nd.make_node("BiasAdd", end, [made, nd.data_inputs(found.bias)[1]], **found.bias.attr))
    if found.row is not None:
        edit.put(nd.make_node("Squeeze", name, [end], T=conv.attr["T"], squeeze_dims=[1]))
    return read


def is_same(found: Dilated, kernel: np.ndarray) -> bool:
    """Whether the zeros around the image are those of SAME."""
    beyond = (kernel - 1) * found.steps
    return np.array_equal(found.padding, np.stack([beyond // 2, beyond - beyond // 2], axis=1))

"""Convolutions between SpaceToBatch and BatchToSpace, as ``atrous_conv2d`` writes them, as dilated ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from calibrant.emit.tflite.unread_edges import CONVOLUTIONS
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.tf_core import NodeDef, dtypes


@dataclass(frozen=True)
class _Found:
    """A convolution that steps over positions, in three nodes, or four with its bias."""

    spread: NodeDef
    conv: NodeDef
    bias: NodeDef | None
    gathered: NodeDef
    steps: np.ndarray
    padding: np.ndarray


def as_dilated(edit: Edit) -> Mapping[str, str]:
    """Compute such convolutions at once; tensor → the tensor that has its numbers, and at most zeros besides."""
    graph, twins = edit.graph, {}
    for node in list(edit.nodes.values()):
        found = _found(graph, node)
        if found is not None:
            twins[f"{found.spread.name}:0"] = _put(edit, found)
            twins[f"{(found.bias or found.conv).name}:0"] = f"{node.name}:0"
    return twins


def _found(graph: Graph, gathered: NodeDef) -> _Found | None:
    if gathered.op != "BatchToSpaceND":
        return None
    conv = made = graph.producer(nd.data_inputs(gathered)[0])
    if made.op == "BiasAdd" and graph.only_consumer(made.name) is not None:
        conv = graph.producer(nd.data_inputs(made)[0])
    if conv.op not in CONVOLUTIONS or graph.only_consumer(conv.name) is None or not _steps_once(conv):
        return None
    spread = graph.producer(nd.data_inputs(conv)[0])
    if spread.op != "SpaceToBatchND" or graph.only_consumer(spread.name) is None:
        return None
    sizes = [graph.constant(tensor) for node in (spread, gathered) for tensor in nd.data_inputs(node)[1:]]
    if any(size is None for size in sizes) or any(nd.control_inputs(node) for node in (spread, conv, made, gathered)):
        return None
    steps, padded, again, cropped = (np.asarray(size) for size in sizes)
    padding = padded - cropped if padded.shape == cropped.shape == (2, 2) else np.array([-1])
    if not np.array_equal(steps, again) or (padding < 0).any():
        return None
    return _Found(spread, conv, None if made is conv else made, gathered, steps, padding)


def _steps_once(conv: NodeDef) -> bool:
    """Whether a convolution reads each position, and no position beyond the edges."""
    ones = {*(nd.attribute(conv, "strides") or [1]), *(nd.attribute(conv, "dilations") or [1])} == {1}
    return ones and nd.attribute(conv, "padding") == "VALID" and nd.attribute(conv, "data_format", "NHWC") == "NHWC"


def _put(edit: Edit, found: _Found) -> str:
    """Write the convolution, its result under the name of what gathered it; what it reads."""
    conv, name = found.conv, found.gathered.name
    read, weights = nd.data_inputs(found.spread)[0], nd.data_inputs(conv)[1]
    kernel = edit.graph.shape(weights)
    is_same = kernel is not None and None not in kernel[:2] and _is_same(found, np.array(kernel[:2]))
    if not is_same and found.padding.any():
        sizes = np.concatenate([np.zeros((1, 2)), found.padding, np.zeros((1, 2))]).astype(np.int32)
        paddings = edit.add_constant(f"{name}/paddings", sizes)
        read = edit.add("Pad", f"{name}/padded", [read, paddings], T=conv.attr["T"], Tpaddings=dtypes.int32)
    padding = "SAME" if is_same else "VALID"
    attributes = {**conv.attr, "padding": padding, "dilations": [1, *map(int, found.steps), 1]}
    made = name if found.bias is None else conv.name
    edit.put(nd.make_node(conv.op, made, [read, weights], **attributes))
    if found.bias is not None:
        edit.put(nd.make_node("BiasAdd", name, [made, nd.data_inputs(found.bias)[1]], **found.bias.attr))
    return read


def _is_same(found: _Found, kernel: np.ndarray) -> bool:
    """Whether the zeros around the image are those of SAME."""
    beyond = (kernel - 1) * found.steps
    return np.array_equal(found.padding, np.stack([beyond // 2, beyond - beyond // 2], axis=1))

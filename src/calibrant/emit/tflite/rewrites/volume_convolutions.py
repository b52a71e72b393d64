"""Convolutions over volumes, which LiteRT computes in float alone, as convolutions over images.

What a window has in several layers of a volume lies side by side in the channels of an image: the same terms are added
up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from calibrant.emit.tflite.conversion.converter_names import ACTIVATIONS
from calibrant.emit.tflite.rewrites.dilated import Dilated, dilated, is_same
from calibrant.emit.tflite.rewrites.written.splice import put_written
from calibrant.emit.tflite.rewrites.written.windows import Axis
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.tensorflow import tensorflow
from calibrant.graph.tf_core import NodeDef, dtypes


def convolve_as_images(edit: Edit) -> Mapping[str, str]:
    """Rewrite those of volumes of known sizes, each with its bias and activation; tensor → the tensor that it is now.

    Those between SpaceToBatch and BatchToSpace become dilated. No dilated Conv3D is written on the way, and where there
    is one, nothing is: TensorFlow (2.21) takes its height for its width where it infers shapes.
    """
    graph = edit.graph
    twins: dict[str, str] = {}
    if any(node.op == "Conv3D" and set(_rates(node)) != {1} for node in graph.nodes.values()):
        return twins
    ends = [found for node in graph.nodes.values() if (found := dilated(graph, node)) is not None]
    around = {found.conv.name: found for found in ends}
    for conv in graph.nodes.values():
        if conv.op == "Conv3D" and (axes := _axes(graph, conv, around.get(conv.name))):
            twins |= _put(edit, conv, axes, around.get(conv.name))
    return twins


def with_layers_in_channels(kernel: np.ndarray) -> np.ndarray:
    """The weights of a Conv3D, [depth, height, width, in, out], as those of the Conv2D that has its sums."""
    depth, height, width, read, made = kernel.shape
    return kernel.transpose(1, 2, 0, 3, 4).reshape(height, width, depth * read, made)


def _axes(graph: Graph, conv: NodeDef, around: Dilated | None) -> Sequence[Axis]:
    """How windows lie along depth, height and width; empty of what is not rewritten."""
    if nd.attribute(conv, "data_format") == "NCDHW" or conv.name in graph.regions:
        return ()  # in a loop, constants of its own would belong to no turn
    x, weights = nd.data_inputs(conv)
    kernel = graph.constant(weights)
    sizes = nd.static_shape((graph.shape(_read(x, around)) or (None,))[1:])
    if kernel is None or sizes is None or nd.control_inputs(conv):
        return ()
    is_padded = nd.attribute(conv, "padding") == "SAME"
    rates = [1, 1, 1]
    if around is not None:
        is_padded, rates = is_same(around, np.array(kernel.shape[:3])), around.steps.tolist()
        if around.padding.any() and not is_padded:
            return ()
    ways = zip(sizes, kernel.shape[:3], nd.attribute(conv, "strides")[1:], rates, strict=False)
    axes = [Axis(*way, is_padded) for way in ways]
    return axes if all(axis.count for axis in axes) else ()


def _rates(conv: NodeDef) -> list[int]:
    return nd.attribute(conv, "dilations") or [1] * 5


def _read(x: str, around: Dilated | None) -> str:
    return x if around is None else nd.data_inputs(around.spread)[0]


def _put(edit: Edit, conv: NodeDef, axes: Sequence[Axis], around: Dilated | None) -> Mapping[str, str]:
    graph, kind = edit.graph, conv.attr["T"]
    spread, constant = nd.data_inputs(conv)
    x, weights = _read(spread, around), graph.require_constant(constant)
    read = edit.add("Identity", f"{conv.name}/layers", [x], T=kind)
    put_written(edit, edit.nodes[nd.node_name(read)], [x], partial(_images, axes))
    kernel = edit.add_constant(f"{conv.name}/kernel", with_layers_in_channels(weights))
    made = edit.add(
        *("Conv2D", f"{conv.name}/images", [read, kernel]),
        T=kind,
        padding="SAME" if _are_padded_alike(axes) else "VALID",
        strides=[1, *(axis.stride for axis in axes[1:]), 1],
        dilations=[1, *(axis.rate for axis in axes[1:]), 1],
    )
    behind, end = _behind(graph, conv, around)
    for each in behind:
        made = edit.add(each.op, f"{each.name}/images", [made, *nd.data_inputs(each)[1:]], **each.attr)
    volume = np.array([-1, *(axis.count for axis in axes), weights.shape[-1]], np.int32)
    shape = edit.add_constant(f"{end.name}/volume", volume)
    edit.put(nd.make_node("Reshape", end.name, [made, shape], T=kind, Tshape=dtypes.int32))
    twins = {f"{end.name}:0": made}
    return twins if around is None else {spread: x, f"{(around.bias or conv).name}:0": made, **twins}


def _behind(graph: Graph, conv: NodeDef, around: Dilated | None) -> tuple[Sequence[NodeDef], NodeDef]:
    """The bias and the activation of a convolution, and the last node of it all."""
    found, node = [], conv
    for ops in ({"BiasAdd"}, ACTIVATIONS):
        reader = graph.only_consumer(node.name)
        if reader is not None and reader[0].op in ops and not nd.control_inputs(reader[0]):
            node = reader[0]
            found.append(node)
        if around is not None and node is (around.bias or conv):
            node = around.gathered
    return found, node


def _are_padded_alike(axes: Sequence[Axis]) -> bool:
    """Whether the windows reach the end of the images, as padding SAME needs that does not leave an edge unread."""
    return all(axis.is_padded and axis.reach + (axis.count - 1) * axis.stride >= axis.size for axis in axes[1:])


def _images(axes: Sequence[Axis], volume: Any) -> Any:
    """What the windows have in each of their layers, joined in the channels; the layers are samples."""
    tf = tensorflow()
    depth, *across = axes
    beside = [(0, 0), (0, 0)] if _are_padded_alike(axes) else [axis.padding for axis in across]
    paddings = [(0, 0), depth.padding, *beside, (0, 0)]
    padded = tf.pad(volume, paddings) if np.any(paddings) else volume
    layers = [padded[:, place] for place in depth.places] if depth.window > 1 or depth.stride > 1 else [padded]
    joined = tf.concat(layers, 4) if len(layers) > 1 else layers[0]
    return tf.reshape(joined, [-1, *joined.shape[2:]])

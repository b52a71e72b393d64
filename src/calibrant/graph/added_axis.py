"""Tensors that are one sample, such as a decoded picture: the graph adds the axis of samples itself."""

from __future__ import annotations

from collections.abc import Iterator

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef

SIZES = frozenset({"Shape", "ShapeN", "Size", "Rank"})
KEEP_AXES = frozenset(
    {
        *("Abs", "Add", "AddV2", "AdjustContrastv2", "AdjustHue", "AdjustSaturation", "BiasAdd", "Cast"),
        *("CheckNumerics", "ClipByValue", "Div", "HSVToRGB", "Identity", "Maximum", "Minimum", "MirrorPad", "Mul"),
        *("MulNoNan", "Neg", "Pad", "PadV2", "PlaceholderWithDefault", "Pow", "RGBToHSV", "RealDiv", "ReverseV2"),
        *("Rint", "Round", "Slice", "Snapshot", "Sqrt", "Square", "StopGradient", "StridedSlice", "Sub", "Transpose"),
    }
)
"""Operations whose results have the axes of what they read: arithmetic with pixels, crops and borders."""
CROPS = frozenset({"CropAndResize", "ScaleAndTranslate"})
RESIZES = frozenset({"ResizeArea", "ResizeBicubic", "ResizeBilinear", "ResizeNearestNeighbor"})
CONVOLUTIONS = frozenset({"Conv2D", "Conv3D", "DepthwiseConv2dNative"})
"""Operations that have a first axis of samples, and may let what lies along the next ones meet."""


def is_one_sample(graph: Graph, tensor: str) -> bool:
    """Whether everything that is made of a tensor goes through an axis of one sample that is added in front.

    That is only certain where pictures are resized, pooled or convolved behind it, so that its own first axis is the
    height, or where it is sound of which a spectrogram is made.
    """
    shape, added, is_sound = graph.shape(tensor), list[str](), False
    if shape is None:
        return False
    for each in _with_same_axes(graph, tensor):
        if nd.node_name(each) in graph.output_nodes:
            return False
        for node, index in graph.consumers(each):
            made = f"{node.name}:0"
            if node.op == "AudioSpectrogram":
                is_sound = True
            elif _adds_axis(graph, node, shape):
                added.append(made)
            elif not (
                _keeps_axes(graph, node, len(shape)) or node.op in SIZES or (index == 0 and _is_one_number(graph, made))
            ):
                return False
    return is_sound or any(_is_of_pictures(graph, each) for each in added)


def _with_same_axes(graph: Graph, tensor: str) -> Iterator[str]:
    """A tensor, and all that is made of it with the axes that it has."""
    rank, waiting, seen = len(graph.shape(tensor) or ()), [tensor], {tensor}
    for each in waiting:
        yield each
        for node, _ in graph.consumers(each):
            made = f"{node.name}:0"
            if made not in seen and _keeps_axes(graph, node, rank):
                seen.add(made)
                waiting.append(made)


def _adds_axis(graph: Graph, node: NodeDef, shape: nd.OpenShape) -> bool:
    """Whether a node puts an axis of size 1 in front of a tensor of a shape."""
    made = graph.shape(f"{node.name}:0")
    if made is None or len(made) != len(shape) + 1 or made[0] != 1:
        return False
    if node.op == "ExpandDims":
        axis = graph.constant(nd.data_inputs(node)[1])
        return axis is not None and int(axis.item()) in (0, -len(made))
    if node.op == "Pack":
        return nd.attribute(node, "axis", 0) in (0, -len(made))
    if node.op == "StridedSlice":
        return nd.attribute(node, "new_axis_mask") == 1 and not nd.attribute(node, "shrink_axis_mask")
    return node.op == "Reshape" and all(
        None in pair or pair[0] == pair[1] for pair in zip(made[1:], shape, strict=True)
    )


def _keeps_axes(graph: Graph, node: NodeDef, rank: int) -> bool:
    made = graph.shape(f"{node.name}:0")
    if node.op not in KEEP_AXES or made is None or len(made) != rank:
        return False
    if node.op == "Transpose":
        order = graph.constant(nd.data_inputs(node)[1])
        return order is not None and int(order[0]) == 0
    return not (nd.attribute(node, "new_axis_mask") or nd.attribute(node, "shrink_axis_mask"))


def _is_one_number(graph: Graph, tensor: str) -> bool:
    """Whether a tensor is a statistic of all that it is made of."""
    shape = graph.shape(tensor)
    return shape is not None and all(size == 1 for size in shape)


def _is_of_pictures(graph: Graph, added: str) -> bool:
    """Whether the axes behind the one that was added are those of a picture."""
    return any(
        index == 0 and _lets_rows_meet(graph, node)
        for each in _with_same_axes(graph, added)
        for node, index in graph.consumers(each)
    )


def _lets_rows_meet(graph: Graph, node: NodeDef) -> bool:
    """Whether an operation makes one number of several along the axis behind that of samples, as of a picture's rows.

    A height that is computed may be the number of rows that there are.
    """
    if node.op in CROPS:
        return True
    if node.op in RESIZES:
        return graph.constant(nd.data_inputs(node)[1]) is not None
    if node.op in nd.POOLS:
        return nd.attribute(node, "ksize")[1] > 1
    if node.op not in CONVOLUTIONS:
        return False
    weights = graph.shape(nd.data_inputs(node)[1])
    return weights is not None and all(size is not None and size > 1 for size in weights[:-2])

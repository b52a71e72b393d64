"""Convolutions whose strides leave an edge of the image unread, which XNNPACK gets wrong with padding SAME."""

from __future__ import annotations

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit
from calibrant.graph.tf_core import NodeDef

CONVOLUTIONS = frozenset({"Conv2D", "DepthwiseConv2dNative"})


def pad_in_numbers(edit: Edit, node: NodeDef) -> None:
    """Write padding SAME as numbers where the last window ends before the image does.

    The padding of an axis would be (outputs - 1) · stride + window - size, which is negative there. TensorFlow and
    LiteRT's own kernels pad nothing; XNNPACK (TensorFlow 2.21) reads beyond the image.
    """
    values, filters = nd.data_inputs(node)
    shape, windows = edit.graph.shape(values), edit.graph.shape(filters)
    if nd.attribute(node, "padding") != "SAME" or shape is None or windows is None:
        return
    strides, dilations = nd.attribute(node, "strides"), nd.attribute(node, "dilations") or [1] * 4
    axes = [str(nd.attribute(node, "data_format") or "NHWC").index(name) for name in "HW"]
    missing, pairs = [], [0] * 8
    for axis, window in zip(axes, windows, strict=False):
        size = shape[axis]
        if size is None or window is None:
            return
        count = -(-size // strides[axis])
        missing.append((count - 1) * strides[axis] + (window - 1) * dilations[axis] + 1 - size)
        total = max(missing[-1], 0)
        pairs[2 * axis : 2 * axis + 2] = total // 2, total - total // 2
    if min(missing) >= 0:
        return
    padded = nd.copy_node(node)
    nd.set_attribute(padded, "padding", "EXPLICIT" if any(pairs) else "VALID")
    if any(pairs):
        nd.set_attribute(padded, "explicit_paddings", pairs)
    edit.put(padded)

"""Pools of volumes, which LiteRT has no operator for, as pools of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit
from calibrant.graph.tf_core import NodeDef, dtypes

POOLS_OF_VOLUMES = {"MaxPool3D": "MaxPool", "AvgPool3D": "AvgPool"}
POOL_LISTS = ("ksize", "strides")


def pool_by_axes(edit: Edit, node: NodeDef) -> None:
    """Pool height and width of all layers, then the depth; where its sizes are open, nothing is changed."""
    [x] = nd.data_inputs(node)
    before, after = edit.graph.shape(x), edit.graph.shape(f"{node.name}:0")
    if nd.attribute(node, "data_format") == "NCDHW" or before is None or after is None:
        return
    (depth, *sizes), made = nd.static_shape(before[1:]) or (0,), nd.static_shape(after[1:])
    if not depth or made is None:
        return
    kind, padding = node.attr["T"], nd.attribute(node, "padding")
    _, height, width, channels = made

    def reshaped(tensor: str, name: str, shape: Sequence[int]) -> str:
        wanted = edit.add_constant(f"{node.name}/{name}/shape", np.array([-1, *shape], np.int32))
        return edit.add("Reshape", f"{node.name}/{name}", [tensor, wanted], T=kind, Tshape=dtypes.int32)

    def pooled(tensor: str, name: str, axes: Sequence[int]) -> str:
        lists = {key: [1, *(nd.attribute(node, key)[axis] if axis else 1 for axis in axes), 1] for key in POOL_LISTS}
        return edit.add(POOLS_OF_VOLUMES[node.op], f"{node.name}/{name}", [tensor], T=kind, padding=padding, **lists)

    flat = pooled(reshaped(x, "layers", sizes), "flat", (2, 3))
    deep = pooled(reshaped(flat, "columns", [depth, height * width, channels]), "deep", (1, 0))
    wanted = edit.add_constant(f"{node.name}/shape", np.array([-1, *made], np.int32))
    controls = nd.control_references(node)
    edit.put(nd.make_node("Reshape", node.name, [deep, wanted, *controls], T=kind, Tshape=dtypes.int32))

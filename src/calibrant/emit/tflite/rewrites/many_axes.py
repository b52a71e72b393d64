"""Reductions of more axes than XNNPACK takes: it accepts them, and then refuses the whole file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit
from calibrant.graph.tf_core import NodeDef, dtypes

REDUCTIONS = frozenset({"Max", "Mean", "Min", "Sum"})
MOST_AXES = 6


def reduce_fewer_axes(edit: Edit, node: NodeDef) -> None:
    """Join neighbouring axes that are both reduced, or both kept, in front of a reduction of more than six.

    Where more than one size is open, nothing is changed.
    """
    read, places = nd.data_inputs(node)
    shape, axes = edit.graph.shape(read), edit.graph.constant(places)
    if shape is None or axes is None or len(shape) <= MOST_AXES or node.name in edit.graph.regions:
        return
    reduced = {int(axis) % len(shape) for axis in axes.reshape(-1)}
    keeps = bool(nd.attribute(node, "keep_dims"))
    left = [1 if axis in reduced else size for axis, size in enumerate(shape) if keeps or axis not in reduced]
    if shape.count(None) > 1 or 0 in shape:
        return
    groups = [(goes, list(of)) for goes, of in groupby(range(len(shape)), key=lambda axis: axis in reduced)]
    joined = [_joint([shape[axis] for axis in group]) for _, group in groups]
    if len(joined) > MOST_AXES:
        return

    def sizes(name: str, found: Sequence[int | None]) -> str:
        wanted = np.array([-1 if size is None else size for size in found], np.int32)
        return edit.add_constant(f"{node.name}/{name}/sizes", wanted)

    kind = node.attr["T"]
    flat = [read, sizes("joined", joined)]
    joint = edit.add("Reshape", f"{node.name}/joined", flat, T=kind, Tshape=dtypes.int32)
    chosen = np.array([at for at, (goes, _) in enumerate(groups) if goes], np.int32)
    kinds = {"T": kind, "Tidx": dtypes.int32, "keep_dims": False}
    made = edit.add(node.op, f"{node.name}/reduced", [joint, edit.add_constant(f"{node.name}/axes", chosen)], **kinds)
    inputs = [made, sizes("result", left), *nd.control_references(node)]
    edit.put(nd.make_node("Reshape", node.name, inputs, T=kind, Tshape=dtypes.int32))


def _joint(sizes: Sequence[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return math.prod(known) if len(known) == len(sizes) else None

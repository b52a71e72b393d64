"""Patches of an image side by side in channels, for which LiteRT has no operator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit
from calibrant.graph.tf_core import NodeDef, dtypes

MOST_PLACES = 256
"""Of a patch, each of which is a slice where patches overlap."""
SIZES = 0b1001
"""Mask of the axes of samples and channels, which slices take whole."""


@dataclass(frozen=True)
class _Axis:
    """How patches lie along one axis of the image."""

    size: int
    window: int
    stride: int
    rate: int
    is_padded: bool

    @property
    def reach(self) -> int:
        return (self.window - 1) * self.rate + 1

    @property
    def count(self) -> int:
        left = self.size if self.is_padded else self.size - self.reach + 1
        return max(-(-left // self.stride), 0)

    @property
    def padding(self) -> tuple[int, int]:
        whole = max((self.count - 1) * self.stride + self.reach - self.size, 0) if self.is_padded else 0
        return whole // 2, whole - whole // 2

    @property
    def are_tiles(self) -> bool:
        """Whether the patches cover the axis without a gap, an overlap or a rest."""
        return self.rate == 1 and self.window == self.stride and self.count * self.window == self.size


def patches_as_moves(edit: Edit, node: NodeDef) -> None:
    """Tiles are SpaceToDepth; of other patches, each place is a strided slice of the image."""
    [image] = nd.data_inputs(node)
    sizes = edit.graph.shape(image)
    lengths = [size for size in (sizes or ())[1:] if size is not None]
    if len(lengths) < 3 or node.name in edit.graph.regions:
        return  # in a loop, constants of its own would belong to no turn
    windows, strides, rates = (nd.attribute(node, name) for name in ("ksizes", "strides", "rates"))
    is_padded = node.attr["padding"].s == b"SAME"
    rows, columns = (_Axis(lengths[at - 1], windows[at], strides[at], rates[at], is_padded) for at in (1, 2))
    if not rows.count or not columns.count:
        return
    kind, controls = node.attr["T"], [f"^{name}" for name in nd.control_inputs(node)]
    if rows.are_tiles and columns.are_tiles and rows.window == columns.window > 1:
        made = nd.make_node("SpaceToDepth", node.name, [image, *controls], T=kind, block_size=rows.window)
        made.attr["data_format"].s = b"NHWC"
        edit.put(made)
        return
    if not 1 < rows.window * columns.window <= MOST_PLACES:
        return
    if any((*rows.padding, *columns.padding)):
        around = np.array([(0, 0), rows.padding, columns.padding, (0, 0)], np.int32)
        pads = edit.add_constant(f"{node.name}/around", around)
        image = edit.add("Pad", f"{node.name}/padded", [image, pads], T=kind, Tpaddings=dtypes.int32)
    steps = edit.add_constant(f"{node.name}/steps", np.array([1, rows.stride, columns.stride, 1], np.int32))
    parts = []
    for row in range(0, rows.reach, rows.rate):
        for column in range(0, columns.reach, columns.rate):
            name = f"{node.name}/place_{row}_{column}"
            ends = [row + (rows.count - 1) * rows.stride + 1, column + (columns.count - 1) * columns.stride + 1]
            first = edit.add_constant(f"{name}/first", np.array([0, row, column, 0], np.int32))
            end = edit.add_constant(f"{name}/end", np.array([0, *ends, 0], np.int32))
            inputs = [image, first, end, steps]
            parts.append(
                edit.add("StridedSlice", name, inputs, T=kind, Index=dtypes.int32, begin_mask=SIZES, end_mask=SIZES)
            )
    last = edit.add_constant(f"{node.name}/channels", np.int32(3))
    kinds = {"N": len(parts), "T": kind, "Tidx": dtypes.int32}
    edit.put(nd.make_node("ConcatV2", node.name, [*parts, last, *controls], **kinds))

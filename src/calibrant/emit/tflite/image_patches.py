"""Patches of an image side by side in channels, for which LiteRT has no operator."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from calibrant.emit.tflite.written_out import put_written
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit
from calibrant.graph.tensorflow import tensorflow
from calibrant.graph.tf_core import NodeDef

MOST_PLACES = 256
"""Of a patch, each of which is a slice where patches overlap."""


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

    @property
    def places(self) -> list[slice]:
        """For each place in a patch, where the patches have it in the padded image."""
        last = (self.count - 1) * self.stride
        return [slice(first, first + last + 1, self.stride) for first in range(0, self.reach, self.rate)]


def patches_as_moves(edit: Edit, node: NodeDef) -> None:
    """Tiles are SpaceToDepth; of other patches, each place is a strided slice of the image."""
    put_written(edit, node, nd.data_inputs(node), partial(_patches, node))


def _patches(node: NodeDef, image: Any) -> Any:
    tf = tensorflow()
    _, *lengths, channels = image.shape
    if None in (*lengths, channels):
        return None
    windows, strides, rates = (nd.attribute(node, name) for name in ("ksizes", "strides", "rates"))
    is_padded = node.attr["padding"].s == b"SAME"
    rows, columns = (
        _Axis(*each, is_padded) for each in zip(lengths, windows[1:3], strides[1:3], rates[1:3], strict=True)
    )
    if not rows.count or not columns.count:
        return None
    if rows.are_tiles and columns.are_tiles and rows.window == columns.window > 1:
        return tf.nn.space_to_depth(image, rows.window)
    if not 1 < rows.window * columns.window <= MOST_PLACES:
        return None
    if any((*rows.padding, *columns.padding)):
        image = tf.pad(image, [(0, 0), rows.padding, columns.padding, (0, 0)])
    return tf.concat([image[:, row, column] for row in rows.places for column in columns.places], 3)

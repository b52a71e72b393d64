"""Patches of an image side by side in channels, for which LiteRT has no operator."""

from __future__ import annotations

from functools import partial
from typing import Any

from calibrant.emit.tflite.rewrites.written.splice import put_written
from calibrant.emit.tflite.rewrites.written.windows import windows_of
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit
from calibrant.graph.tensorflow import tensorflow
from calibrant.graph.tf_core import NodeDef


def patches_as_moves(edit: Edit, node: NodeDef) -> None:
    """Tiles are SpaceToDepth; of other patches, each place is a strided slice of the image."""
    put_written(edit, node, nd.data_inputs(node), partial(_patches, node))


def _patches(node: NodeDef, image: Any) -> Any:
    tf = tensorflow()
    sizes, strides, rates = (nd.attribute(node, name) for name in ("ksizes", "strides", "rates"))
    windows = windows_of(image, sizes, strides, rates, nd.attribute(node, "padding") == "SAME")
    if windows is None:
        return None
    rows, columns = windows.rows, windows.columns
    if rows.are_tiles and columns.are_tiles and rows.window == columns.window > 1:
        return tf.nn.space_to_depth(image, rows.window)
    return tf.concat(windows.of(image), 3)

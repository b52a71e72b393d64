"""Operations that are written out, and how."""

from __future__ import annotations

from functools import partial

from calibrant.emit.tflite.rewrites.written.images import IMAGES, largest_of_windows
from calibrant.emit.tflite.rewrites.written.matrices import MATRICES
from calibrant.emit.tflite.rewrites.written.numbers import NUMBERS
from calibrant.emit.tflite.rewrites.written.rows import ROWS
from calibrant.emit.tflite.rewrites.written.splice import Written, put_written
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit
from calibrant.graph.tf_core import NodeDef, dtypes

WRITTEN_OUT: dict[str, Written] = {**IMAGES, **MATRICES, **NUMBERS, **ROWS}
"""Operation → function of a node and of its inputs: arrays where they are constant, tensors otherwise."""

OF_ANY_NUMBERS = frozenset(
    {"Bincount", "DenseBincount", "DynamicPartition", "DynamicStitch", "InTopKV2", "ParallelDynamicStitch"}
)
"""The others are written out in float32 alone."""


def write_out(edit: Edit, node: NodeDef) -> None:
    """Put what a function of WRITTEN_OUT makes in the place of a node."""
    if node.op in OF_ANY_NUMBERS or nd.attribute(node, "T") == dtypes.float32:
        put_written(edit, node, nd.data_inputs(node), partial(WRITTEN_OUT[node.op], node))


def write_out_places_of_largest(edit: Edit, node: NodeDef) -> None:
    """The same of MaxPoolWithArgmax: of its two outputs often the first alone is read."""
    place = f"{node.name}:1"
    is_read = place in edit.graph.outputs or bool(edit.graph.consumers(place))
    if nd.attribute(node, "T") == dtypes.float32:
        put_written(edit, node, nd.data_inputs(node), partial(largest_of_windows, is_read, node))

"""Boxes and scores of which TensorFlow and LiteRT select the same; of codes, many scores are equal and boxes empty."""

from __future__ import annotations

from typing import Any

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit
from calibrant.graph.tf_core import NodeDef, dtypes

SELECTING = frozenset({"NonMaxSuppressionV3", "NonMaxSuppressionV4", "NonMaxSuppressionV5"})
TIE = 2.0**-22
"""Above float32's resolution below 1; thousands of them are less than a step of 8 bits."""
WIDER = 1e-6
"""Share of a coordinate, and of 1, that the side of a box has at least."""


def plain_boxes_and_scores(edit: Edit, node: NodeDef) -> None:
    """Let no scores be equal, no box be empty, and no overlap be the threshold.

    Of equal scores TensorFlow selects the first, LiteRT any; so each gets a little less than the one before. A box
    without area overlaps with nothing, not even itself, and LiteRT's kernel goes on selecting it again. It also drops
    a box whose overlap is the threshold, which TensorFlow keeps; so LiteRT gets the next larger number.
    """

    def put(op: str, name: str, *inputs: str, **kinds: Any) -> str:
        return edit.add(op, f"{node.name}/{name}", inputs, **(kinds or {"T": dtypes.float32}))

    def number(name: str, value: Any) -> str:
        return edit.add_constant(f"{node.name}/{name}", value)

    boxes, scores, _, threshold = nd.data_inputs(node)[:4]
    overlap = edit.graph.constant(threshold)
    if overlap is not None and overlap < 1:
        edit.set_input(node.name, 3, number("overlap", np.nextafter(np.float32(overlap), np.float32(1))))
    one = number("one", np.int32(1))
    count = put("Size", "count", scores, T=dtypes.float32, out_type=dtypes.int32)
    places = put("Range", "places", number("first", np.int32(0)), count, one, Tidx=dtypes.int32)
    order = put("Cast", "order", places, SrcT=dtypes.int32, DstT=dtypes.float32)
    less = put("Mul", "less", order, number("tie", np.float32(TIE)))
    edit.set_input(node.name, 1, put("Sub", "without_ties", scores, less))

    corners = put("Split", "corners", one, boxes, T=dtypes.float32, num_split=2)
    ends = (corners, f"{nd.node_name(corners)}:1")
    low, high = put("Minimum", "low", *ends), put("Maximum", "high", *ends)
    size = put("AddV2", "size", put("Abs", "far", low), number("least", np.float32(1)))
    wider = put("AddV2", "wider", low, put("Mul", "more", size, number("share", np.float32(WIDER))))
    sides = (low, put("Maximum", "filled", high, wider), one)
    made = put("ConcatV2", "boxes", *sides, T=dtypes.float32, N=2, Tidx=dtypes.int32)
    edit.set_input(node.name, 0, made)

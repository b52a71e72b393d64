"""Boxes and scores of which TensorFlow and LiteRT select the same; of codes, many scores are equal and boxes empty."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.functions.inline import selects_boxes_of_one_image
from calibrant.graph.graph import Edit
from calibrant.graph.tf_core import NodeDef, dtypes

SELECTING = frozenset({"NonMaxSuppressionV3", "NonMaxSuppressionV4", "NonMaxSuppressionV5"})
TIE = 2.0**-22
"""Above float32's resolution below 1; thousands of them are less than a step of 8 bits."""
UNIT_BOX = np.array([[1, 1, 2, 2]], np.float32)
EXPANDING = {"T": dtypes.float32, "Tdim": dtypes.int32}


def select_as_one_operator(edit: Edit, node: NodeDef) -> None:
    """The function of ``tf.image.non_max_suppression_padded``, where a node calls it, as the operator.

    Both drop a box whose overlap is the threshold. The function has a row of indices for its image, and never selects
    a box without a positive coordinate, such as one that was clipped to nothing; it gets the lowest score here, which
    no threshold lets pass.
    """
    called = node.attr["f"].func.name
    if not any(
        each.signature.name == called and selects_boxes_of_one_image(each) for each in edit.graph.library.function
    ):
        return

    put = partial(_put, edit, node)
    boxes, scores, most, overlap, least = nd.data_inputs(node)[:5]
    zero, one, lowest = (
        edit.add_constant(f"{node.name}/{name}", value)
        for name, value in (("zero", np.float32(0)), ("axis", np.int32(1)), ("lowest", np.finfo(np.float32).min))
    )
    largest = put("Max", "largest", boxes, one, T=dtypes.float32, Tidx=dtypes.int32)
    inputs = [boxes, scores, most, overlap, put("Maximum", "least_score", least, lowest)]
    kinds = {"T": dtypes.float32, "T_threshold": dtypes.float32, "pad_to_max_output_size": True}
    edit.put(nd.make_node("NonMaxSuppressionV4", node.name, [*inputs, *nd.control_references(node)], **kinds))
    _plain(edit, edit.nodes[node.name])
    without_ties = nd.data_inputs(edit.nodes[node.name])[1]  # in float: among codes, the lowest score is one of these
    is_inside = put("Greater", "is_inside", largest, zero)
    edit.set_input(node.name, 1, put("SelectV2", "inside", is_inside, without_ties, lowest))
    first = edit.add_constant(f"{node.name}/first", np.int32(0))
    row = put("ExpandDims", "row", node.name, first, T=dtypes.int32, Tdim=dtypes.int32)
    for reader, index in edit.graph.consumers(f"{node.name}:0"):
        edit.set_input(reader.name, index, row)


def plain_boxes_and_scores(edit: Edit, node: NodeDef) -> None:
    """Let no scores be equal, no box be empty, and no overlap be the threshold.

    Of equal scores TensorFlow selects the first, LiteRT any; so each gets a little less than the one before. A box
    without area overlaps with nothing, not even itself, and LiteRT's kernel goes on selecting it again; so each is one
    that has, outside of all others. LiteRT also drops a box whose overlap is the threshold, which TensorFlow keeps; so
    it gets the next larger number.
    """
    threshold = nd.data_inputs(node)[3]
    overlap = edit.graph.constant(threshold)
    if overlap is not None and overlap < 1:
        above = edit.add_constant(f"{node.name}/overlap", np.nextafter(np.float32(overlap), np.float32(1)))
        edit.set_input(node.name, 3, above)
    _plain(edit, node)


def _put(edit: Edit, node: NodeDef, op: str, name: str, *inputs: str, **kinds: Any) -> str:
    """Add an operation in front of a node, or behind it; of real numbers where nothing else is said."""
    return edit.add(op, f"{node.name}/{name}", inputs, **(kinds or {"T": dtypes.float32}))


def _plain(edit: Edit, node: NodeDef) -> None:
    put = partial(_put, edit, node)

    def number(name: str, value: Any) -> str:
        return edit.add_constant(f"{node.name}/{name}", value)

    boxes, scores = nd.data_inputs(node)[:2]
    one = number("one", np.int32(1))
    count = put("Size", "count", scores, T=dtypes.float32, out_type=dtypes.int32)
    places = put("Range", "places", number("first", np.int32(0)), count, one, Tidx=dtypes.int32)
    order = put("Cast", "order", places, SrcT=dtypes.int32, DstT=dtypes.float32)
    less = put("Mul", "less", order, number("tie", np.float32(TIE)))
    edit.set_input(node.name, 1, put("Sub", "without_ties", scores, less))

    corners = put("Split", "corners", one, boxes, T=dtypes.float32, num_split=2)
    ends = (corners, f"{nd.node_name(corners)}:1")
    low, high = put("Minimum", "low", *ends), put("Maximum", "high", *ends)
    made = put("ConcatV2", "ordered", low, high, one, T=dtypes.float32, N=2, Tidx=dtypes.int32)
    of_each = {"T": dtypes.float32, "Tidx": dtypes.int32, "keep_dims": True}
    area = put("Prod", "area", put("Sub", "sides", high, low), one, **of_each)
    is_empty = put("LessEqual", "is_empty", area, number("nothing", np.float32(0)))
    farthest = put("Max", "farthest", high, number("all", np.array([0, 1], np.int32)), **of_each)
    steps = put("ExpandDims", "steps", put("Mul", "twice", order, number("two", np.float32(2))), one, **EXPANDING)
    corner = put("AddV2", "corner", put("AddV2", "places_outside", farthest, steps), number("side", UNIT_BOX))
    edit.set_input(node.name, 0, put("SelectV2", "boxes", is_empty, corner, made))

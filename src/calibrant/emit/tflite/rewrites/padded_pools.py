"""Maximum pooling with padding of its own sizes, which LiteRT has no operator for, behind an operator that pads."""

from __future__ import annotations

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit
from calibrant.graph.tf_core import NodeDef, dtypes

LOWEST = np.finfo(np.float32).min
"""Of which no window consists, as padding is smaller than windows."""


def pad_before_pooling(edit: Edit, node: NodeDef) -> None:
    """Pad with what is no maximum, and pool without padding."""
    if nd.attribute(node, "padding") != "EXPLICIT":
        return
    pairs = np.array(nd.attribute(node, "explicit_paddings"), np.int32).reshape(-1, 2)
    sizes = edit.add_constant(f"{node.name}/paddings", pairs)
    lowest = edit.add_constant(f"{node.name}/lowest", LOWEST)
    kinds = {"T": dtypes.float32, "Tpaddings": dtypes.int32}
    padded = edit.add("PadV2", f"{node.name}/padded", [nd.data_inputs(node)[0], sizes, lowest], **kinds)
    pool = nd.copy_node(node, [padded, *nd.control_references(node)])
    nd.set_attribute(pool, "padding", "VALID")
    pool.attr["explicit_paddings"].Clear()
    edit.put(pool)

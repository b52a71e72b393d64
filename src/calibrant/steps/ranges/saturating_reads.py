"""Step: tensors that only a saturating function reads are observed no further than that function can tell apart.

Masks add -1e9 to what a softmax reads, and gates get numbers far from zero. A range that holds them all has no codes
left for the numbers that matter. What a final softmax or sigmoid reads are scores that people look at: these stay.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.tf_core import NodeDef, dtypes

REARRANGING = frozenset({"Identity", "Reshape", "Squeeze", "ExpandDims", "Transpose"})
DEPTH = 16.0
"""How far below the largest number of its row another adds nothing to a softmax: exp(-16) is 1e-7."""
ENDS = {"Sigmoid": 8.0, "Tanh": 4.5}
"""From where on a function is nearer to its limit than half a code of the 8 bits with which it is written."""


def saturating_reads(graph: Graph, tensors: Collection[str]) -> tuple[Graph, Mapping[str, str]]:
    """Add what is observed instead of such tensors.

    Parameters
    ----------
    graph : Graph
        That is run on the data.
    tensors : Collection[str]
        To be observed; all that is done with them is to let a saturating function read them.

    Returns
    -------
    tuple[Graph, Mapping[str, str]]
        The graph, and tensor → the tensor in it that is observed instead.
    """
    edit = graph.edit()
    found: dict[str, str] = {}
    for tensor in tensors:
        reader = _reader(graph, tensor)
        if reader is None or is_result(graph, reader.name):
            continue
        found[tensor] = _seen_by(edit, reader, graph.dtype(f"{reader.name}:0"))
    if not found:
        return graph, {}
    finished = edit.finish(outputs=(*graph.outputs, *found.values()))
    return replace(finished, outputs=graph.outputs), found


def _reader(graph: Graph, tensor: str) -> NodeDef | None:
    """The saturating function that alone reads a tensor, directly or rearranged."""
    name, index = nd.split_tensor(tensor)
    while index == 0:
        reader = graph.only_consumer(name)
        if reader is None or reader[1] != 0:
            return None
        if reader[0].op == "Softmax" or reader[0].op in ENDS:
            return reader[0]
        if reader[0].op not in REARRANGING:
            return None
        name = reader[0].name
    return None


def is_result(graph: Graph, name: str) -> bool:
    """Whether a node makes an output, if only rearranged."""
    while name not in graph.output_nodes:
        reader = graph.only_consumer(name)
        if reader is None or reader[0].op not in REARRANGING:
            return False
        name = reader[0].name
    return True


def _seen_by(edit: Edit, reader: NodeDef, kind: Any) -> str:
    """What matters of the numbers that a function reads."""
    [read] = nd.data_inputs(reader)
    name = f"{reader.name}/seen"
    if reader.op in ENDS:
        low, high = (
            edit.add_constant(f"{name}/{end}", kind.as_numpy_dtype(value))
            for end, value in (("low", -ENDS[reader.op]), ("high", ENDS[reader.op]))
        )
        return edit.add("ClipByValue", name, [read, low, high], T=kind)
    axis = edit.add_constant(f"{name}/axis", np.array([-1], np.int32))
    kinds = {"T": kind, "Tidx": dtypes.int32, "keep_dims": True}
    largest = edit.add("Max", f"{name}/largest", [read, axis], **kinds)
    depth = edit.add_constant(f"{name}/depth", kind.as_numpy_dtype(DEPTH))
    below = edit.add("Sub", f"{name}/below", [largest, depth], T=kind)
    nothing = edit.add_constant(f"{name}/nothing", kind.as_numpy_dtype(0))
    is_number = edit.add("IsFinite", f"{name}/is_number", [largest], T=kind)  # of a row that a mask leaves nothing of
    lowest = edit.add("SelectV2", f"{name}/lowest", [is_number, below, nothing], T=kind)
    return edit.add("Maximum", name, [read, lowest], T=kind)

"""Step: tensors that hold infinities in a sound model, as masks of -inf do, which a softmax takes for nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef
from calibrant.steps.ranges.saturating_reads import REARRANGING

COMPUTING = frozenset({"Select", "SelectV2", "Add", "AddV2", "Sub", "Mul", "Fill", "PadV2"})
CHOOSING = frozenset({"Tile", "BroadcastTo", "ConcatV2", "Pack", "StridedSlice", "Slice", "GatherV2", "Cast"})
CARRYING = COMPUTING | REARRANGING | CHOOSING


def infinite_tensors(graph: Graph) -> frozenset[str]:
    """The tensors into which an infinite constant is added or chosen; no range of theirs can be observed."""
    found: set[str] = set()
    for node in graph.nodes.values():
        read = nd.data_inputs(node)
        if node.op in CARRYING and (not found.isdisjoint(read) or any(_infinities(graph, node))):
            found.add(f"{node.name}:0")
    return frozenset(found)


def _infinities(graph: Graph, node: NodeDef) -> Iterator[bool]:
    if node.op in COMPUTING:
        for tensor in nd.data_inputs(node):
            value = graph.constant(tensor)
            yield value is not None and value.dtype.kind == "f" and bool(np.isinf(value).any())

"""Sizes that are known in a shape of which others are open, and what picks them out of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph, ordered
from calibrant.graph.inference.constant_folding import constant_nodes, constant_values
from calibrant.graph.tf_core import NodeDef

OPEN = -1  # stands for an open size where elements are only moved: no size is negative

_FIRST, _ALL = slice(0, 1), slice(None)
MOVED = {
    **dict.fromkeys(("StridedSlice", "Slice", "Gather", "GatherV2", "Unpack", "SplitV"), _FIRST),
    **dict.fromkeys(("Reshape", "Squeeze", "ExpandDims", "Cast", *nd.PASS_THROUGH), _FIRST),
    **dict.fromkeys(("Pack", "IdentityN"), _ALL),
    "Split": slice(1, 2),
    "ConcatV2": slice(None, -1),
}
"""Operation that computes nothing → the inputs whose elements it moves; the others say where to."""


def decided_sizes(graph: Graph, plain: Graph, tensors: Iterable[str]) -> dict[str, np.ndarray]:
    """Tensor → value, of those upstream of ``tensors`` that hold known sizes alone.

    None where TensorFlow does not accept the graph, which is said when it is checked.

    Parameters
    ----------
    graph : Graph
        By its shapes sizes are known: not of what changes from one round of a loop to the next.
    plain : Graph
        The same with nodes from which constants can be computed.
    tensors : Iterable[str]
        What the sizes are to decide.
    """
    wanted = [nd.tensor_name(tensor) for tensor in tensors]
    upstream = ordered(plain.nodes, wanted)
    asked = [node for node in upstream.values() if node.op == "Shape"]
    shapes = {node.name: nd.constant_node(node.name, value) for node, value in _known_in_part(graph, asked)}
    if not shapes:
        return {}
    moving = _moving(replace(plain, nodes=upstream), shapes)
    read = [tensor for node in upstream.values() for tensor in nd.data_inputs(node)]
    moved = dict.fromkeys(tensor for tensor in (*read, *wanted) if nd.node_name(tensor) in moving)
    values = constant_values(replace(plain, nodes={**upstream, **shapes}), moved)
    return {tensor: value for tensor, value in values.items() if (value != OPEN).all()}


def _known_in_part(graph: Graph, asked: Sequence[NodeDef]) -> Iterator[tuple[NodeDef, np.ndarray]]:
    """The nodes that ask for a shape whose length is known, and what they get."""
    try:
        known = graph.tensors if asked else {}
    except Exception:  # whatever TensorFlow's shape functions raise
        return
    for node in asked:
        shape, _ = known[nd.data_inputs(node)[0]]
        if shape is not None:
            sizes = [OPEN if size is None else size for size in shape]
            yield node, np.array(sizes, known[f"{node.name}:0"][1].as_numpy_dtype)


def _moving(graph: Graph, shapes: Mapping[str, NodeDef]) -> set[str]:
    """The nodes that get their elements from shapes and constants, and where to put them from constants alone."""
    constant = constant_nodes(graph)
    moving = set(shapes)
    for node in graph.nodes.values():
        if node.op in MOVED and not _may_hide(node):
            inputs = list(map(nd.node_name, nd.data_inputs(node)))
            moved = inputs[MOVED[node.op]]
            del inputs[MOVED[node.op]]
            if constant.issuperset(inputs) and not moving.isdisjoint(moved) and constant.issuperset({*moved} - moving):
                moving.add(node.name)
    return moving


def _may_hide(node: NodeDef) -> bool:
    """Whether a node makes another number of :data:`OPEN`."""
    if node.op != "Cast":
        return False
    made = nd.attribute(node, "DstT")
    return not made.is_floating and (not made.is_integer or made.is_unsigned)

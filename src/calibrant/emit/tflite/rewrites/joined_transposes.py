"""Two transpositions between which only reshapes are, as one: the converter joins them wrongly.

Windows that are put together and cut into a grid (MaxViT) come out of it without any transposition.
"""

from __future__ import annotations

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit
from calibrant.graph.tf_core import NodeDef, dtypes


def join_transposes(edit: Edit, node: NodeDef) -> None:
    """Let a transposition read what another one reads where reshapes in between come to nothing."""
    graph = edit.graph
    read, order = nd.data_inputs(node)
    first = graph.producer(read)
    while first.op == "Reshape":
        first = graph.producer(nd.data_inputs(first)[0])
    if first.op != "Transpose" or node.name in graph.regions or first is graph.producer(read):
        return
    shape, before = graph.shape(read), graph.shape(f"{first.name}:0")
    source, other = nd.data_inputs(first)
    orders = [graph.constant(tensor) for tensor in (other, order)]
    if shape is None or shape != before or shape.count(None) > 1 or any(each is None for each in orders):
        return
    early, late = (each.reshape(-1) % len(shape) for each in orders if each is not None)
    joined = edit.add_constant(f"{node.name}/joined", early[late].astype("int32"))
    kinds = {"T": node.attr["T"], "Tperm": dtypes.int32}
    edit.put(nd.make_node("Transpose", node.name, [source, joined, *nd.control_references(node)], **kinds))

"""What the steps have in common that write an operation out as others, whose numbers can be observed."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.tf_core import NodeDef, dtypes


def float_nodes(graph: Graph, ops: Container[str]) -> Iterator[NodeDef]:
    """The nodes of these operations that compute in float32, outside loops and branches."""
    for node in graph.nodes.values():
        if node.op in ops and node.name not in graph.regions and nd.attribute(node, "T") == dtypes.float32:
            yield node


def beside_number(graph: Graph, node: NodeDef, fits: Callable[[float], bool]) -> str | None:
    """The tensor to which a node adds one number that fits, without changing its shape."""
    if node.op not in ("Add", "AddV2"):
        return None
    for tensor, other in (nd.data_inputs(node), nd.data_inputs(node)[::-1]):
        added, shape = graph.constant(other), graph.shape(tensor)
        if added is not None and added.size == 1 and added.ndim <= len(shape or ()) and fits(float(added.item())):
            return tensor
    return None


def add_inner(edit: Edit, op: str, node: NodeDef, name: str, *inputs: str) -> str:
    """One of the operations that a node becomes, named after it; its result."""
    return edit.add(op, f"{node.name}/{name}", inputs, T=dtypes.float32)


def put_last(edit: Edit, op: str, node: NodeDef, *inputs: str) -> None:
    """The operation that takes a node's name and place."""
    edit.put(nd.make_node(op, node.name, [*inputs, *nd.control_references(node)], T=dtypes.float32))

"""Traced TensorFlow code in the place of a node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit
from calibrant.graph.tensorflow import tensorflow, without_callbacks
from calibrant.graph.tf_core import NodeDef

Written = Callable[..., Any]


@without_callbacks()
def put_written(edit: Edit, node: NodeDef, read: Sequence[str], function: Written) -> None:
    """Put what a function computes in the place of a node that is in no loop.

    Parameters
    ----------
    edit : Edit
        The graph.
    node : NodeDef
        It has as many outputs as the function.
    read : Sequence[str]
        Tensors.
    function : Written
        Gets their values where they are constant, and tensors of known rank otherwise; makes a tensor, a list of them
        where the node has several outputs, or None where it cannot.
    """
    graph, tf = edit.graph, tensorflow()
    if node.name in graph.regions or any(graph.shape(tensor) is None for tensor in read):
        return  # in a loop, constants of its own would belong to no turn
    with tf.Graph().as_default() as written:
        values = [graph.constant(tensor) for tensor in read]
        given = [
            tf.compat.v1.placeholder(graph.dtype(tensor), graph.shape(tensor), name=f"read{place}")
            if values[place] is None
            else values[place]
            for place, tensor in enumerate(read)
        ]
        try:
            made = function(*given)
        except (ValueError, TypeError, AttributeError, LookupError):  # shapes that it cannot do with
            return
        if made is None:
            return
        kept = tf.identity_n(made, name="made")[0] if isinstance(made, list) else tf.identity(made, name="made")
        result = kept.op.name
    inner = {f"read{place}": tensor for place, tensor in enumerate(read)}
    scope = edit.free_name(f"{node.name}/written")
    for each in written.as_graph_def().node:
        if each.name in inner:
            continue
        copy = nd.copy_node(each, [_outer(reference, scope, inner) for reference in each.input])
        copy.name = node.name if each.name == result else f"{scope}/{each.name}"
        if each.name == result:
            copy.input.extend(nd.control_references(node))
        edit.put(copy)


def _outer(reference: str, scope: str, inner: dict[str, str]) -> str:
    """What a node of the function reads, by its name in the graph."""
    control = "^" if reference.startswith("^") else ""
    name, index = nd.split_tensor(reference.removeprefix("^"))
    if name in inner:
        return inner[name]
    return f"{control}{scope}/{name}" + (f":{index}" if index and not control else "")


def sizes_of(x: Any) -> list[Any]:
    """Sizes of a tensor of known rank: numbers, of the open ones tensors."""
    found = tensorflow().shape(x)
    return [found[axis] if size is None else size for axis, size in enumerate(x.shape)]

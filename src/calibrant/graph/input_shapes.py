"""A graph whose inputs have other shapes."""

from __future__ import annotations

from collections.abc import Mapping

from calibrant.fed_shapes import FedShapes
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph


def with_input_shapes(graph: Graph, shapes: Mapping[str, nd.OpenShape]) -> Graph | None:
    """The graph with these shapes of inputs; None where they do not fit it or each other.

    Parameters
    ----------
    graph : Graph
        The graph.
    shapes : Mapping[str, nd.OpenShape]
        Input → its shape; others keep theirs.
    """
    edit = graph.edit()
    for tensor, shape in shapes.items():
        node = nd.copy_node(graph.producer(tensor))
        nd.set_shape(node, shape)
        edit.put(node)
    changed = edit.finish()
    try:
        changed.tensors  # noqa: B018
    except Exception:  # whatever TensorFlow's shape functions raise
        return None
    return changed


def with_fed_shapes(graph: Graph, fed: FedShapes) -> Graph | None:
    """The graph with the sizes that it is fed with where it leaves them open; None where they do not fit.

    Parameters
    ----------
    graph : Graph
        The graph.
    fed : FedShapes
        What it is fed with.
    """
    shapes: dict[str, nd.OpenShape] = {}
    for key, tensor in zip(graph.input_keys, graph.inputs, strict=True):
        shape, given = graph.shape(tensor), fed.get(key)
        if shape is None:
            continue
        if given is None or len(given) != len(shape):
            return None
        shapes[tensor] = tuple(new if size is None else size for size, new in zip(shape, given, strict=True))
    return with_input_shapes(graph, shapes)

"""Step: inputs whose number of axes a model does not say get the shape of the data."""

from __future__ import annotations

from collections.abc import Sequence

from calibrant.data.input_spec import InputSpec
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph


def with_data_shapes(graph: Graph, inputs: Sequence[InputSpec]) -> Graph:
    """The graph with shapes for inputs of unknown rank; as it was where there are none, or where they do not fit it.

    Parameters
    ----------
    graph : Graph
        The model, such as one that is cut after a queue or a lookup table.
    inputs : Sequence[InputSpec]
        What the opened data are read for, in the order of the graph's inputs.
    """
    edit, is_changed = graph.edit(), False
    for tensor, spec in zip(graph.inputs, inputs, strict=True):
        if graph.shape(tensor) is not None or spec.shape is None:
            continue
        is_changed = True
        node = nd.copy_node(graph.producer(tensor))
        shape = node.attr["shape"].shape
        shape.Clear()
        for size in spec.shape:
            shape.dim.add().size = -1 if size is None else size
        edit.put(node)
    if not is_changed:
        return graph
    changed = edit.finish()
    try:
        changed.tensors  # noqa: B018
    except Exception:  # whatever TensorFlow's shape functions raise: running the graph on the data says it better
        return graph
    return changed

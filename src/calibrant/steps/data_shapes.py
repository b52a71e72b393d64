"""Step: inputs whose number of axes a model does not say get the shape of the data."""

from __future__ import annotations

from collections.abc import Sequence

from calibrant.data.input_spec import InputSpec
from calibrant.graph.graph import Graph
from calibrant.graph.input_shapes import with_input_shapes


def with_data_shapes(graph: Graph, inputs: Sequence[InputSpec]) -> Graph:
    """The graph with shapes for inputs of unknown rank; as it was where there are none, or where they do not fit it.

    Parameters
    ----------
    graph : Graph
        The model, such as one that is cut after a queue or a lookup table.
    inputs : Sequence[InputSpec]
        What the opened data are read for, in the order of the graph's inputs.
    """
    shapes = {
        tensor: spec.shape
        for tensor, spec in zip(graph.inputs, inputs, strict=True)
        if graph.shape(tensor) is None and spec.shape is not None
    }
    changed = with_input_shapes(graph, shapes) if shapes else None
    return graph if changed is None else changed

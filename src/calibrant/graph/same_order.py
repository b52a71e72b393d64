"""Inputs and outputs of two models of one network, which their files may list in different orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from calibrant.graph.graph import Graph


def in_order_of(graph: Graph, like: Graph) -> Graph:
    """A graph with its inputs and outputs in the order of another one that has the same names for them.

    Parameters
    ----------
    graph : Graph
        The graph.
    like : Graph
        The one whose order is wanted.

    Returns
    -------
    Graph
        The inputs are as they are where their names are not the same ones; so are the outputs.
    """
    inputs, outputs = _order(graph.input_keys, like.input_keys), _order(graph.output_keys, like.output_keys)
    if inputs == sorted(inputs) and outputs == sorted(outputs):
        return graph
    return replace(
        graph,
        inputs=tuple(graph.inputs[at] for at in inputs),
        input_keys=tuple(graph.input_keys[at] for at in inputs),
        outputs=tuple(graph.outputs[at] for at in outputs),
        output_keys=tuple(graph.output_keys[at] for at in outputs),
    )


def _order(names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Where each of the wanted names is; as they are where others are wanted."""
    return [names.index(name) for name in wanted] if sorted(names) == sorted(wanted) else list(range(len(names)))

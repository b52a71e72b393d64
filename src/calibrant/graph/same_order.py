"""Inputs and outputs of two models of one network, which their files may list in different orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from calibrant.errors import ModelError, Problem
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

    Raises
    ------
    ModelError
        Only some names are the same, and not at the same places.
    """
    inputs = _order(graph.input_keys, like.input_keys, "inputs", graph.source)
    outputs = _order(graph.output_keys, like.output_keys, "outputs", graph.source)
    if inputs == sorted(inputs) and outputs == sorted(outputs):
        return graph
    return replace(
        graph,
        inputs=tuple(graph.inputs[at] for at in inputs),
        input_keys=tuple(graph.input_keys[at] for at in inputs),
        outputs=tuple(graph.outputs[at] for at in outputs),
        output_keys=tuple(graph.output_keys[at] for at in outputs),
    )


def _order(names: Sequence[str], wanted: Sequence[str], kind: str, source: str) -> list[int]:
    """Where each of the wanted names is; as they are where others are wanted."""
    if sorted(names) == sorted(wanted):
        return [names.index(name) for name in wanted]
    if moved := [name for name in names if name in wanted and names.index(name) != wanted.index(name)]:
        message = f"{kind[:-1]} {moved[0]!r} is at another place than in the model to compare with"
        allowed = f"{', '.join(wanted)}, in any order"
        raise ModelError(Problem(message, file=source, allowed=allowed, hint=f"name all of them: --{kind} ({kind}=)"))
    return list(range(len(names)))

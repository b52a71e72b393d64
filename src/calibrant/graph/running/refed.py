"""A graph that runs again with other constants, in the session that it has."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.running.run import OTHER_NUMBERS, Runner
from calibrant.graph.running.session import constant_bytes
from calibrant.graph.tf_core import NodeDef, dtypes

MOST_BYTES = 1 << 22
"""Of constants that are fed with each batch; with more of them, none is."""


class RefedRunner:
    """A graph made ready to run, some of whose constants are fed.

    Parameters
    ----------
    graph : Graph
        The model, fed at ``graph.inputs``.
    fetches : Sequence[str]
        Tensors to return.
    fixed : Collection[str]
        Nodes that are never fed. Of the others those are fed that hold real numbers.
    """

    def __init__(self, graph: Graph, fetches: Sequence[str], fixed: Collection[str]):
        self._graph = graph
        free = [node for name, node in graph.nodes.items() if name not in fixed and _is_real_constant(node)]
        self.can_be_refed = sum(map(constant_bytes, free)) <= MOST_BYTES
        self._fed = tuple(node.name for node in free) if self.can_be_refed else ()
        tensors = tuple(f"{name}:0" for name in self._fed)
        inputs, keys = (*graph.inputs, *tensors), (*graph.input_keys, *tensors)
        self._runner = Runner(
            replace(graph, inputs=inputs, input_keys=keys), fetches, optimized=False, hint=OTHER_NUMBERS
        )

    def takes(self, graph: Graph) -> bool:
        """Whether a graph differs in nothing but constants that are fed."""
        nodes, others = self._graph.nodes, graph.nodes
        if nodes.keys() != others.keys():
            return False
        fed = set(self._fed)
        return all(
            node is others[name] or (_kind(node) == _kind(others[name]) if name in fed else node == others[name])
            for name, node in nodes.items()
        )

    def __call__(self, graph: Graph, batches: Iterable[Mapping[str, np.ndarray]]) -> list[list[np.ndarray]]:
        """Run batches with the constants of a graph that it takes."""
        constants = {f"{name}:0": nd.constant_value(graph.nodes[name]) for name in self._fed}
        return [[np.array(array) for array in self._runner({**batch, **constants})] for batch in batches]

    def close(self) -> None:
        """Free the session."""
        self._runner.close()


def _is_real_constant(node: NodeDef) -> bool:
    return node.op == "Const" and not node.input and dtypes.as_dtype(node.attr["dtype"].type).is_floating


def _kind(node: NodeDef) -> tuple[str, object, object]:
    return node.op, node.attr["dtype"].type, node.attr["value"].tensor.tensor_shape

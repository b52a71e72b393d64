"""Step: outputs of the float network have to be numbers, or nothing can be said about those of the quantized one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from calibrant.calibration.finite_values import FiniteValues
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef
from calibrant.steps.infinite_tensors import CARRYING, COMPUTING

MASKING = COMPUTING - {"Mul"} | {"BiasAdd"}
"""Operations that add or choose a constant, which may be infinite in a sound network."""
KEEPING = CARRYING | {"BiasAdd", "LogSoftmax", "Neg", "Max", "Min", "Maximum", "Minimum", "TopKV2"}
"""Operations whose results are infinite where what they read is."""


def sound_outputs(graph: Graph) -> Mapping[str, FiniteValues]:
    """By output of real numbers, what is required of its values: numbers, or infinities of a mask or a logarithm.

    Parameters
    ----------
    graph : Graph
        The float network.
    """
    may_be = _may_be_infinite(graph)
    return {
        tensor: FiniteValues(or_infinite=tensor in may_be)
        for tensor in graph.outputs
        if graph.dtype(tensor).is_floating
    }


def _may_be_infinite(graph: Graph) -> set[str]:
    found: set[str] = set()
    for node in graph.nodes.values():
        is_kept = node.op in KEEPING and not found.isdisjoint(nd.data_inputs(node))
        if node.op == "Log" or is_kept or (node.op in MASKING and _reads_infinities(graph, node)):
            found.add(f"{node.name}:0")
    return found


def _reads_infinities(graph: Graph, node: NodeDef) -> bool:
    constants = (graph.constant(tensor) for tensor in nd.data_inputs(node))
    return any(value is not None and value.dtype.kind == "f" and bool(np.isinf(value).any()) for value in constants)

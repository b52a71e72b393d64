"""Step: outputs of the float network have to be numbers, or nothing can be said about those of the quantized one."""

from __future__ import annotations

from collections.abc import Mapping

from calibrant.calibration.finite_values import FiniteValues
from calibrant.graph.graph import Graph
from calibrant.steps.infinite_tensors import CARRYING, infinite_tensors

KEEPING = frozenset({"LogSoftmax", "Neg", "Max", "Min", "Maximum", "Minimum", "TopKV2"})
"""Operations whose results are infinite where a mask is, beside those of masks themselves."""


def sound_outputs(graph: Graph) -> Mapping[str, FiniteValues]:
    """By output of real numbers, what is required of its values: infinite ones may only come from a constant mask.

    Parameters
    ----------
    graph : Graph
        The float network.
    """
    masked = infinite_tensors(graph, CARRYING | KEEPING)
    return {
        tensor: FiniteValues(or_infinite=tensor in masked)
        for tensor in graph.outputs
        if graph.dtype(tensor).is_floating
    }

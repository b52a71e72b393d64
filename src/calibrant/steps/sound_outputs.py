"""Step: outputs of the float network have to be numbers, or nothing can be said about those of the quantized one."""

from __future__ import annotations

from collections.abc import Mapping

from calibrant.calibration.finite_values import FiniteValues
from calibrant.graph.graph import Graph


def sound_outputs(graph: Graph) -> Mapping[str, FiniteValues]:
    """By output of real numbers, what is required of its values.

    Parameters
    ----------
    graph : Graph
        The float network.
    """
    return {tensor: FiniteValues() for tensor in graph.outputs if graph.dtype(tensor).is_floating}

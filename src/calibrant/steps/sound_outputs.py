"""Step: outputs of the float network have to be numbers, or nothing can be said about those of the quantized one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from calibrant.calibration.finite_values import FiniteValues
from calibrant.graph.graph import Graph


def sound_outputs(graph: Graph, tensors: Sequence[str]) -> Mapping[str, FiniteValues]:
    """By tensor of real numbers, what is required of its values.

    Parameters
    ----------
    graph : Graph
        The float network.
    tensors : Sequence[str]
        Its outputs, or what is looked at in their place.
    """
    return {tensor: FiniteValues() for tensor in tensors if graph.dtype(tensor).is_floating}

"""Step: tensors of which the calibration data show no value, as boxes are where every sample drops them all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from calibrant.algorithms.histogram import Histogram
from calibrant.errors import DataError, Problem
from calibrant.graph.graph import Graph
from calibrant.graph.node_input import NodeInput, read_tensor

_T = TypeVar("_T")


def seen_places(
    graph: Graph, places: Mapping[NodeInput, _T], histograms: Mapping[str, Histogram]
) -> dict[NodeInput, _T]:
    """The places whose tensors have values."""
    return {place: entry for place, entry in places.items() if histograms[read_tensor(graph, place)].count}


def check_seen(graph: Graph, places: Iterable[NodeInput], histograms: Mapping[str, Histogram]) -> None:
    """Every place has values from which its range can be searched.

    Parameters
    ----------
    graph : Graph
        The network.
    places : Iterable[NodeInput]
        (node, input index) of every activation that gets a quantizer.
    histograms : Mapping[str, Histogram]
        Tensor → what was observed.

    Raises
    ------
    DataError
        With every place that has none.
    """
    problems = []
    for name, index in places:
        tensor = read_tensor(graph, (name, index))
        if not histograms[tensor].count:
            hint = f'give samples for which it has some, or leave the node in float: skip_layers : "{name}"'
            message = f"reads {tensor}, of which no calibration sample has a value"
            problems.append(Problem(message, path=name, hint=hint))
    if problems:
        raise DataError(*problems)

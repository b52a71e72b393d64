"""Step: factors for tensors that no layer reads, where an export runs on integers between the layers as well."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from calibrant.algorithms import ifmr
from calibrant.algorithms.histogram import Histogram
from calibrant.algorithms.search_result import SearchResult
from calibrant.emit.tflite.integer_part import integer_part
from calibrant.graph.graph import Graph
from calibrant.graph.layers import Layer


def intermediate_tensors(
    graph: Graph, layers: Collection[Layer], places: Collection[tuple[str, int]], formats: Collection[str]
) -> tuple[str, ...]:
    """The tensors that have to be observed for the formats asked for, besides those that layers read."""
    return integer_part(graph, layers, places).observed if "tflite" in formats else ()


def search_intermediate(
    histograms: Mapping[str, Histogram], tensors: Collection[str], asymmetric: bool
) -> dict[str, SearchResult]:
    """Their factors, by IFMR with its default settings."""
    return {tensor: ifmr.search(histograms[tensor], ifmr.IfmrSettings(asymmetric=asymmetric)) for tensor in tensors}

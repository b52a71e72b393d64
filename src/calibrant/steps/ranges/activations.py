"""Step: from the observed histograms to the scale and offset of every quantized activation."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import numpy as np

from calibrant.algorithms import hfmg, ifmr
from calibrant.algorithms.arithmetic import Quantizer
from calibrant.algorithms.code_use import code_use
from calibrant.algorithms.histogram import Histogram
from calibrant.algorithms.ifmr import quantization_errors
from calibrant.algorithms.search_result import SearchResult
from calibrant.config.plan import ActivationPlan, JointGroup, Plan
from calibrant.graph.graph import Graph
from calibrant.graph.layers import Layer
from calibrant.graph.node_input import NodeInput, read_tensor
from calibrant.quantized_network import QuantizedInput
from calibrant.steps.ranges.joint import joint_histograms

_T = TypeVar("_T")
HEADROOM = 2
"""Values that the calibration data do not show cost more than one of 16 bits."""
AT_ONCE = 2  # histograms; more gain nothing, as part of a search is Python


def search(histogram: Histogram, plan: ActivationPlan) -> SearchResult:
    """Run the activation algorithm that the plan names on one histogram, and count how its values use the codes.

    The range of 16 bits is widened by HEADROOM.
    """
    result = _search(histogram, plan)
    if plan.bits == 16:
        result = _widened(result, histogram)
    return replace(result, use=code_use(histogram, result.quantizer))


def _search(histogram: Histogram, plan: ActivationPlan) -> SearchResult:
    if plan.algorithm == "hfmg":
        return hfmg.search(histogram, hfmg.HfmgSettings(_required(plan.num_of_bins), plan.asymmetric, plan.bits))
    return ifmr.search(
        histogram,
        ifmr.IfmrSettings(
            search_range_start=_required(plan.search_range_start),
            search_range_end=_required(plan.search_range_end),
            search_step=_required(plan.search_step),
            max_percentile=_required(plan.max_percentile),
            min_percentile=_required(plan.min_percentile),
            asymmetric=plan.asymmetric,
            bits=plan.bits,
        ),
    )


def _widened(result: SearchResult, histogram: Histogram) -> SearchResult:
    low, high = HEADROOM * result.low, HEADROOM * result.high
    quantizer = Quantizer.from_range(low, high, result.quantizer.bits, asymmetric=False)
    (error,) = quantization_errors(histogram, np.array([quantizer.scale]), np.array([0]), quantizer.bits)
    return replace(result, quantizer=quantizer, low=low, high=high, mean_squared_error=float(error))


def _required(setting: _T | None) -> _T:
    """A setting that the plan holds for this algorithm."""
    if setting is None:
        raise ValueError("the plan lacks a setting of its algorithm")
    return setting


def quantized_places(graph: Graph, layers: Mapping[str, Layer], plan: Plan) -> dict[NodeInput, ActivationPlan]:
    """(node, input index) → settings of every activation that gets a quantizer; those of layers first."""
    places = {
        (entry.name, index): entry.activation for entry in plan.layers for index in layers[entry.name].data_inputs
    }
    places.update({(entry.layer_name, entry.input_index): entry.activation for entry in plan.tensors})
    return places


def search_all(
    graph: Graph,
    places: Mapping[NodeInput, ActivationPlan],
    histograms: Mapping[str, Histogram],
    groups: Collection[JointGroup],
) -> dict[NodeInput, QuantizedInput]:
    """Scale and offset for every place; a joint group and equal readers of one tensor share one search."""
    merged = joint_histograms(graph, groups, histograms)
    read = {place: read_tensor(graph, place) for place in places}
    seen = {place: merged.get(place, (None, histograms[read[place]])) for place in places}
    source = {place: ("group", group) if group else ("tensor", read[place]) for place, (group, _) in seen.items()}
    wanted: dict[tuple[str, str], tuple[Histogram, dict[ActivationPlan, None]]] = {}
    for place, settings in places.items():  # one search at a time reads a histogram
        wanted.setdefault(source[place], (seen[place][1], {}))[1][settings] = None
    with ThreadPoolExecutor(AT_ONCE) as pool:
        searched = dict(zip(wanted, pool.map(_search_each, *zip(*wanted.values(), strict=True)), strict=True))
    return {
        place: QuantizedInput(*place, read[place], searched[source[place]][settings], seen[place][0])
        for place, settings in places.items()
    }


def _search_each(histogram: Histogram, plans: Collection[ActivationPlan]) -> dict[ActivationPlan, SearchResult]:
    return {plan: search(histogram, plan) for plan in plans}

"""Step: scales for tensors that no layer reads, where an export runs on integers between the layers as well."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from calibrant.algorithms import ifmr
from calibrant.algorithms.arithmetic import Quantizer
from calibrant.algorithms.histogram import Histogram
from calibrant.algorithms.search_result import SearchResult
from calibrant.emit.tflite.conversion.float_file import FloatFile
from calibrant.emit.tflite.conversion.open_sizes import float_file_with_known_sizes
from calibrant.emit.tflite.planning.plan import PlanInputs, plan_file
from calibrant.emit.tflite.settings import TfliteSettings
from calibrant.errors import CalibrantError
from calibrant.graph.graph import Graph
from calibrant.graph.layers import Layer
from calibrant.graph.node_input import NodeInput
from calibrant.steps.ranges.infinite_tensors import infinite_tensors
from calibrant.steps.ranges.saturating_reads import saturating_reads

FEWEST_STEPS = 16
"""Numbers that are all smaller have 3 of 8 bits less than they could have."""
FEW_VALUES = 1_000_000
"""Of fewer values, the default percentiles of IFMR leave none out."""
FINE_TO_WHOLE = tuple(2.0**-place for place in range(7, -1, -1))
"""Scales that have codes of whole numbers."""
CONVERTING = "converting the network for the LiteRT file"
"""What takes long of a large network."""


def float_lite_file(
    graph: Graph, layers: Collection[Layer], places: Collection[NodeInput], settings: TfliteSettings
) -> FloatFile | CalibrantError:
    """The network as a float LiteRT file, or why there is none: other formats can still be written then."""
    try:
        return float_file_with_known_sizes(graph, layers, places, settings)
    except CalibrantError as error:
        return error


def intermediate_tensors(
    lite: FloatFile | CalibrantError | None,
    graph: Graph,
    layers: Collection[Layer],
    places: Collection[NodeInput],
    settings: TfliteSettings,
    wide: Collection[NodeInput],
) -> tuple[dict[str, bool], frozenset[str], Mapping[str, Quantizer]]:
    """The tensors that have to be observed for a LiteRT file, besides those that layers read.

    Parameters
    ----------
    lite : FloatFile | CalibrantError | None
        The network in float; nothing is to be observed without it.
    graph : Graph
        The graph that the layers are of.
    layers : Collection[Layer]
        The quantized ones.
    places : Collection[NodeInput]
        (node, input index) of every activation that gets a quantizer.
    settings : TfliteSettings
        What the user has chosen.
    wide : Collection[NodeInput]
        Those of ``places`` that read 16 bits. A layer in front of them may turn out to have no kernel with these
        scales, so what 8 bits need is observed as well.

    Returns
    -------
    tuple[dict[str, bool], frozenset[str], Mapping[str, Quantizer]]
        Tensor → whether nothing of its range may be cut off; those of which a saturating function needs only a part;
        and those that need not be observed, as their scale is the same in every model.
    """
    if not isinstance(lite, FloatFile):
        return {}, frozenset(), {}
    given = PlanInputs(
        lite,
        graph,
        layers,
        tuple(places),
        all_operators=settings.ops == "all",
        integer_ends=settings.io == "int8",
    )
    plan = plan_file(given)
    if not wide:
        return plan.observed, plan.saturating, plan.fixed
    other = plan_file(replace(given, wide=tuple(wide)))
    saturating = plan.saturating | (other.saturating - plan.observed.keys())
    return {**other.observed, **plan.observed}, saturating, plan.fixed


def observable_between(
    graph: Graph, run: Graph, read: Collection[str], needed: Mapping[str, bool], saturating: Collection[str]
) -> tuple[Graph, Mapping[str, str], dict[str, bool]]:
    """How tensors between layers are observed.

    Parameters
    ----------
    graph : Graph
        The network.
    run : Graph
        That is run on the data.
    read : Collection[str]
        Tensors that get a quantizer where layers read them; these are observed as they are.
    needed : Mapping[str, bool]
        Tensor → whether nothing of its range may be cut off.
    saturating : Collection[str]
        Those of which a saturating function needs only a part.

    Returns
    -------
    tuple[Graph, Mapping[str, str], dict[str, bool]]
        The graph to run; tensor → the one that is observed in its place; and the needed ones that have a range.
    """
    between = [tensor for tensor in needed if tensor not in read]
    observed, seen = saturating_reads(run, [tensor for tensor in between if tensor in saturating])
    unseen = infinite_tensors(graph).difference(seen) if between else frozenset()
    return observed, seen, {tensor: whole for tensor, whole in needed.items() if tensor not in unseen}


def search_intermediate(
    histograms: Mapping[str, Histogram], tensors: Mapping[str, bool], asymmetric: bool
) -> dict[str, SearchResult]:
    """Their scales, by IFMR: with its default settings, or with bounds that are not within those of the data.

    Of few values no range is tried that is wider than theirs: it would only be found where they happen to be near the
    codes, as the numbers of the file are not.
    """
    found = {}
    for tensor, is_whole in tensors.items():
        settings = ifmr.IfmrSettings(asymmetric=asymmetric)
        if is_whole:
            settings = replace(settings, search_range_start=1.0)
        if histograms[tensor].count < FEW_VALUES:
            settings = replace(settings, search_range_end=1.0)
        search = ifmr.search(histograms[tensor], settings)
        exact = _of_two_values(search, histograms[tensor]) or _of_whole_numbers(search, histograms[tensor], asymmetric)
        found[tensor] = exact or search
    return found


def _of_two_values(search: SearchResult, histogram: Histogram) -> SearchResult | None:
    """For a tensor of 0 and one other number, as masks are, the finest scale that divides it."""
    means = histogram.bins()[0]
    if means.size != 2 or 0 not in means or set(means) != {histogram.minimum, histogram.maximum}:
        return None
    [value] = means[means != 0]
    asymmetric = search.quantizer.offset != 0
    codes = 255 if asymmetric else 127 if value > 0 else 128
    for used in range(codes, codes // 2, -1):  # of 64 and 128 the division is exact
        size = value * codes / used
        low, high = min(size, 0.0), max(size, 0.0)
        quantizer = Quantizer.from_range(low, high, asymmetric=asymmetric)
        if quantizer.fake_quantize(np.array([value], np.float32))[0] == np.float32(value):
            return replace(search, quantizer=quantizer, low=low, high=high, mean_squared_error=0.0)
    return None


def _of_whole_numbers(search: SearchResult, histogram: Histogram, asymmetric: bool) -> SearchResult | None:
    """For a tensor of whole numbers, as positions and counts are, the finest scale that has a code for each.

    A position that is a little less than a whole number ends up at the one before where it becomes an integer. Of
    powers of two, products of codes and scale are exact.
    """
    means = histogram.bins()[0]
    if means.size < 2 or np.any(means != np.rint(means)):
        return None
    least, most = min(histogram.minimum, 0.0), max(histogram.maximum, 0.0)
    codes, size = (255, most - least) if asymmetric else (127, max(-least, most))
    for step in FINE_TO_WHOLE:
        if size <= codes * step:
            low = least if asymmetric else -codes * step
            high = low + 255 * step if asymmetric else codes * step
            quantizer = Quantizer.from_range(low, high, asymmetric=asymmetric)
            return replace(search, quantizer=quantizer, low=low, high=high, mean_squared_error=0.0)
    return None


def without_codes(searches: Mapping[str, SearchResult], histograms: Mapping[str, Histogram]) -> frozenset[str]:
    """The tensors that 8 bits cannot hold: beside numbers far below, as of what is masked, all are few steps large.

    Parameters
    ----------
    searches : Mapping[str, SearchResult]
        Tensor → its quantizer.
    histograms : Mapping[str, Histogram]
        Tensor → what was observed.
    """
    return frozenset(tensor for tensor, search in searches.items() if _is_without_codes(search, histograms[tensor]))


def _is_without_codes(search: SearchResult, histogram: Histogram) -> bool:
    lost, far = FEWEST_STEPS * float(search.quantizer.scale), -search.low / 2
    ends = [end for end in (histogram.minimum, histogram.maximum) if abs(end) < lost]
    means = np.append(histogram.bins()[0], ends)  # numbers far below the largest are in the bin of 0
    near, between = (means != 0) & (np.abs(means) < lost), (means >= lost) | ((means <= -lost) & (means >= -far))
    return bool(near.any() and (means < -far).any() and not between.any())

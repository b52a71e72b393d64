"""Step: choose the clipping ranges with the smallest error at the network's outputs.

The squared error of a tensor itself is a poor measure if one feature with large values sets the range but hardly
affects the outputs. Here the measure of a range is the error at the outputs (before a final Softmax) with this tensor
quantized and everything else in float.

Half of the samples choose the ranges; a range moves only if it is clearly better with all of them, too. In the end both
networks run whole, and the plain one is kept unless the moved ranges are clearly better.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import numpy as np

from calibrant.algorithms.code_use import code_use
from calibrant.algorithms.histogram import Histogram
from calibrant.algorithms.ifmr import quantization_errors
from calibrant.algorithms.search_result import SearchResult
from calibrant.config.plan import is_default
from calibrant.graph.node_input import NodeInput
from calibrant.progress import LOG, ProgressFn, no_progress
from calibrant.quantized_network import QuantizedInput, QuantizedNetwork
from calibrant.steps.observed import with_changed
from calibrant.steps.prepared import Prepared
from calibrant.steps.ranges.joint import joint_histograms
from calibrant.steps.ranges.parts import parts_of
from calibrant.steps.refining.range_errors import RangeErrors
from calibrant.steps.refining.range_search import ClippingRange, confirmed, is_better, search_ranges, without_outliers
from calibrant.steps.refining.whole_errors import WholeErrors

NARROWER = (0.9999, 0.999, 0.99, 0.97)
FEWEST_SAMPLES = 16
"""Number of samples below which nothing moves by default."""
NEGLIGIBLE_ERROR = 0.02
"""Mean error of the outputs, relative to their size, below which nothing moves by default (34 dB)."""


def refined(
    prepared: Prepared,
    network: QuantizedNetwork,
    whole: WholeErrors,
    track: ProgressFn,
    by_default: bool,
) -> QuantizedNetwork:
    """The network with the activation ranges whose outputs are nearest to the float network's.

    Readers of one tensor that share scale and offset still share them, as do joint groups.

    Parameters
    ----------
    prepared : Prepared
        The plan, and what was observed.
    network : QuantizedNetwork
        With the ranges of the plain search.
    whole : WholeErrors
        Compares networks on the first samples.
    track : ProgressFn
        Shows progress.
    by_default : bool
        Nobody asked for it: ranges that the configuration has settings for stay, as do those whose candidates would
        have to run one by one, and all of them with fewer than FEWEST_SAMPLES or less than NEGLIGIBLE_ERROR.
    """
    units = units_of(network, prepared)
    if by_default:
        free = {entry.name for entry in prepared.plan.layers if is_default(entry)}
        units = [unit for unit in units if all(entry.node in free for entry in unit)]
    if not units or not whole.samples:
        return network
    if by_default and (whole.samples < FEWEST_SAMPLES or whole.mean(network) < NEGLIGIBLE_ERROR):
        return network
    ranges = [range_of(unit[0], prepared.places[unit[0].node, unit[0].index].asymmetric) for unit in units]
    merged = joint_histograms(network.graph, prepared.plan.groups, prepared.histograms)

    def histogram_of(entry: QuantizedInput) -> Histogram:
        return merged.get(entry.place, (None, prepared.histograms[entry.tensor]))[1]

    narrower = {
        place: _narrower(ranges[place], histogram_of(unit[0]))
        for place, unit in enumerate(units)
        if unit[0].search.use is not None and unit[0].search.use.is_poor
    }
    with closing(RangeErrors(network, units, ranges, narrower, whole, not by_default, track)) as errors:
        start = without_outliers(ranges, narrower, errors.of_some) if narrower else ranges
        found = search_ranges(start, errors.of_some, track if errors.takes_long else no_progress)
        moved = confirmed([[old, *new] for old, new in zip(ranges, found, strict=True)], errors.of_all, list(narrower))
    changed: dict[NodeInput, QuantizedInput] = {}
    for unit, before, after in zip(units, ranges, moved, strict=True):
        for entry in unit if after != before else ():
            search = with_range(entry.search, after, histogram_of(entry))
            changed[entry.place] = replace(entry, search=search, unrefined=entry.search)
    if not changed:
        return network
    better = with_changed(prepared, network, changed)
    plain, other = whole.of(network), whole.of(better)
    taken = is_better(other, plain, bool(narrower))
    done = "moved" if taken else "would move and stay"
    LOG.debug("refine: %d ranges %s, error %.4g, before %.4g", len(changed), done, other.mean(), plain.mean())
    return better if taken else network


def with_range(search: SearchResult, moved: ClippingRange, histogram: Histogram) -> SearchResult:
    """A search that came to another range."""
    quantizer = moved.quantizer
    scale, offset = np.array([quantizer.scale]), np.array([quantizer.offset])
    error = quantization_errors(histogram, scale, offset, quantizer.bits)
    return replace(
        search,
        quantizer=quantizer,
        low=moved.low,
        high=moved.high,
        mean_squared_error=float(error[0]),
        use=code_use(histogram, quantizer),
    )


def _narrower(entry: ClippingRange, histogram: Histogram) -> list[ClippingRange]:
    """The range without ever larger shares of the outermost values."""
    return [
        replace(
            entry,
            low=min(histogram.value_from_bottom(share).value, 0.0),
            high=max(histogram.value_from_top(share).value, 0.0),
        )
        for share in NARROWER
    ]


def units_of(network: QuantizedNetwork, prepared: Prepared) -> list[list[QuantizedInput]]:
    """Activations that share one quantizer: joint groups, readers of one tensor with the same settings, and parts."""
    units: dict[object, list[QuantizedInput]] = {}
    parts = parts_of(network, prepared)
    for entry in network.every_input():
        settings = prepared.places[entry.place]
        part = parts.get(entry.place)
        alike = None if part is None else (part, entry.quantizer)
        units.setdefault(entry.group or alike or (entry.tensor, settings), []).append(entry)
    return list(units.values())


def range_of(entry: QuantizedInput, asymmetric: bool) -> ClippingRange:
    """The present range of an activation, with zero in it."""
    low, high = min(entry.search.low, 0.0), max(entry.search.high, 0.0)
    return ClippingRange(low, high, entry.quantizer.bits, asymmetric)

"""Step: ranges between layers, for an export that has codes there too, chosen as those of layers are.

They move where rounding between the layers costs the outputs more than a little, on top of the rounded layers. A tensor
that costs more than half of what all layers do has no codes: what makes and reads it stays in float.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace

from calibrant.algorithms.search_result import SearchResult
from calibrant.data.open_data import Batches
from calibrant.graph.graph import Graph
from calibrant.graph.logits import compared_tensors
from calibrant.progress import LOG, ProgressFn
from calibrant.quantized_network import QuantizedInput, QuantizedNetwork
from calibrant.steps.prepared import Prepared
from calibrant.steps.refining.range_errors import RangeErrors
from calibrant.steps.refining.range_search import ClippingRange, confirmed, is_better, search_ranges
from calibrant.steps.refining.refine import FEWEST_SAMPLES, NEGLIGIBLE_ERROR, range_of, with_range
from calibrant.steps.refining.too_costly import NOISE, Unit, most_of, too_costly
from calibrant.steps.refining.whole_errors import WholeErrors

LITTLE = 1.1
"""Error of the outputs with everything rounded, in errors with rounded layers, up to which nothing moves."""
POOR = 0.1
"""Error from which on each tensor's is measured if there are no gradients: the file is of no use otherwise (20 dB)."""


def refined_between(
    prepared: Prepared,
    network: QuantizedNetwork,
    whole: WholeErrors,
    batches: Batches,
    track: ProgressFn,
    by_default: bool,
) -> QuantizedNetwork:
    """The network with the ranges between layers whose outputs are nearest to the float network's.

    Parameters
    ----------
    prepared : Prepared
        The plan, and what was observed.
    network : QuantizedNetwork
        With the ranges of its layers as they stay.
    whole : WholeErrors
        Compares networks on the first samples.
    batches : Batches
        Calibration data, restartable.
    track : ProgressFn
        Shows progress.
    by_default : bool
        As in :func:`calibrant.steps.refining.refine.refined`.
    """
    between = {name: network.intermediate[name] for name in prepared.intermediate if name in network.intermediate}
    exact = {tensor for tensor, search in between.items() if search.mean_squared_error == 0}
    rounding = [tensor for tensor in between if tensor not in exact | network.too_coarse]
    units = readers_of(network.graph, {tensor: between[tensor] for tensor in rounding})
    if not units or not whole.samples or (by_default and whole.samples < FEWEST_SAMPLES):
        return network
    rounded = with_rounded(network, units)
    everything = WholeErrors(rounded, batches, units)
    before = everything.mean(rounded)
    if by_default and before < NEGLIGIBLE_ERROR:
        return network
    if before < LITTLE * min(whole.mean(network), NOISE):
        return _without_costly(network, units, whole)
    ranges = [range_of(unit[0], prepared.plan.activation_offset) for unit in units]
    with closing(RangeErrors(rounded, units, ranges, (), everything, False, track)) as errors:
        found = search_ranges(ranges, errors.of_some)
        moved = confirmed([[old, *new] for old, new in zip(ranges, found, strict=True)], errors.of_all)
        better = [_moved(unit, entry, prepared) for unit, entry in zip(units, moved, strict=True)]
        plain, other = everything.of(rounded), everything.of(with_rounded(network, better))
        taken = is_better(other, plain)
        done = "moved" if taken else "would move and stay"
        LOG.debug("refine: ranges between layers %s, error %.4g, before %.4g", done, other.mean(), plain.mean())
        if taken:
            units, ranges = better, list(moved)
        present = {place: [entry.quantizer] for place, entry in enumerate(ranges)}
        costs = errors.measured(present) if before > POOR else errors.of_all(present)
    most = most_of(whole.of(network).mean(), everything.samples)
    coarse = frozenset(units[place][0].tensor for place, cost in costs.items() if cost.mean() > most)
    LOG.debug("refine: %d tensors between layers stay in float", len(coarse))
    searches = {unit[0].tensor: unit[0].search for unit in units}
    moved_network = replace(
        network, intermediate={**network.intermediate, **searches}, too_coarse=network.too_coarse | coarse
    )
    return _without_costly(moved_network, [unit for unit in units if unit[0].tensor not in coarse], whole)


def _without_costly(network: QuantizedNetwork, units: Sequence[Unit], whole: WholeErrors) -> QuantizedNetwork:
    """Of several outputs, the errors of one may hide what a tensor costs another: each is looked at by itself."""
    if len(compared_tensors(network.graph)) == 1:
        return network
    coarse = too_costly(units, network, whole)
    LOG.debug("refine: %d tensors between layers stay in float for one of the outputs", len(coarse))
    return replace(network, too_coarse=network.too_coarse | frozenset(coarse))


def _moved(unit: list[QuantizedInput], entry: ClippingRange, prepared: Prepared) -> list[QuantizedInput]:
    """The readers of a tensor with another range."""
    if entry == range_of(unit[0], prepared.plan.activation_offset):
        return unit
    search = with_range(unit[0].search, entry, prepared.histograms[unit[0].tensor])
    return [replace(each, search=search) for each in unit]


def readers_of(graph: Graph, searches: Mapping[str, SearchResult]) -> list[list[QuantizedInput]]:
    """For each tensor, the places where it is read; without those that nothing reads.

    Parameters
    ----------
    graph : Graph
        The network.
    searches : Mapping[str, SearchResult]
        Tensor → its quantizer.
    """
    units = (
        [QuantizedInput(node.name, index, tensor, search, None) for node, index in graph.consumers(tensor)]
        for tensor, search in searches.items()
    )
    return [unit for unit in units if unit]


def with_rounded(network: QuantizedNetwork, units: Iterable[Iterable[QuantizedInput]]) -> QuantizedNetwork:
    """The network with these tensors rounded as well.

    Parameters
    ----------
    network : QuantizedNetwork
        The network.
    units : Iterable[Iterable[QuantizedInput]]
        Their readers, by tensor.
    """
    return replace(network, tensors=(*network.tensors, *(entry for unit in units for entry in unit)))

"""Step: one range for the parts of a tensor that one layer of the user's reads one after the other.

A dense layer that is applied to each time step is as many layers of the graph, each of which sees a few values of the
calibration data. Where refining decides, they have the range of all values that they read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import reduce

from calibrant.algorithms.histogram import Histogram
from calibrant.config.plan import is_default
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.node_input import NodeInput
from calibrant.quantized_network import QuantizedInput, QuantizedNetwork
from calibrant.steps.observed import with_changed
from calibrant.steps.prepared import Prepared
from calibrant.steps.ranges.activations import search
from calibrant.steps.ranges.saturating_reads import REARRANGING

CUTTING = {"StridedSlice": 0, "Slice": 0, "Unpack": 0, "GatherV2": 0, "SplitV": 0, "Split": 1}
"""Operations that make parts, and the position of what they cut."""
LARGER = 2.0
"""Parts of which one has numbers that much larger than another, in the quadratic mean, differ from each other."""


def with_parts_alike(prepared: Prepared, network: QuantizedNetwork) -> QuantizedNetwork:
    """The network in which such parts have one range, where the configuration says nothing about it.

    Parameters
    ----------
    prepared : Prepared
        The plan, and what was observed.
    network : QuantizedNetwork
        With the ranges of the plain search.
    """
    parts = parts_of(network, prepared)
    of_part: dict[object, list[QuantizedInput]] = {}
    for entry in network.every_input():
        if entry.place in parts:
            of_part.setdefault(parts[entry.place], []).append(entry)
    changed: dict[NodeInput, QuantizedInput] = {}
    for entries in of_part.values():
        tensors = dict.fromkeys(entry.tensor for entry in entries)
        histograms = [prepared.histograms[tensor] for tensor in tensors]
        powers = [histogram.power for histogram in histograms]
        if max(powers) > LARGER**2 * min(powers):
            continue
        merged = reduce(Histogram.merge, histograms)
        found = search(merged, prepared.places[entries[0].node, entries[0].index])
        changed |= {entry.place: replace(entry, search=found) for entry in entries}
    return with_changed(prepared, network, changed) if changed else network


def parts_of(network: QuantizedNetwork, prepared: Prepared) -> Mapping[NodeInput, object]:
    """For layers that share weights and read parts of one tensor with the same default settings, what they share."""
    defaults = {entry.name for entry in prepared.plan.layers if is_default(entry)}
    found: dict[NodeInput, object] = {}
    counts: dict[object, set[str]] = {}
    for layer in network.layers:
        if layer.layer.constant is None or layer.layer.name not in defaults:
            continue
        for entry in layer.inputs:
            place = entry.place
            whole = _whole(network.graph, entry.tensor)
            if whole is not None and entry.group is None:
                found[place] = (layer.layer.constant, whole, prepared.places[place])
                counts.setdefault(found[place], set()).add(entry.tensor)
    return {place: key for place, key in found.items() if len(counts[key]) > 1}


def _whole(graph: Graph, tensor: str) -> str | None:
    """What a tensor is a part of."""
    is_part = False
    while (node := graph.producer(tensor)).op in REARRANGING | CUTTING.keys():
        is_part = is_part or node.op in CUTTING
        tensor = nd.data_inputs(node)[CUTTING.get(node.op, 0)]
    return tensor if is_part else None

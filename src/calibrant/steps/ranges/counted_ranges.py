"""Step: codes for that part of a mask's range that counts, as of numbers to which -1e9 is added for a softmax.

Where a sum of integers is at an end of its range, it makes no difference how far off its operands are. From the
results on, so that a mask may be added to what another mask is added to, chosen, or multiplied by a constant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.algorithms.counted_range import MOST_STEPS, Range, counted, part, range_of
from calibrant.algorithms.search_result import SearchResult
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef
from calibrant.steps.ranges.saturating_reads import REARRANGING

SUMS = {"Add": "Add", "AddV2": "Add", "Sub": "Sub"}
PRODUCTS = frozenset({"Mul", "RealDiv"})
CHOICES = {"SelectV2": (1, 2), "Select": (1, 2), "Maximum": (0, 1), "Minimum": (0, 1)}
"""Operations that hand on numbers, and the positions of what they choose from."""
OF_CODES = SUMS.keys() | CHOICES.keys()
"""Operations whose kernels make codes of codes, however far off the numbers are."""
NEARLY_ALL = 0.5
"""Share of a range for which a scale of its own would gain less than a bit."""


def with_counted_ranges(
    graph: Graph, searches: Mapping[str, SearchResult], read: dict[str, Quantizer]
) -> dict[str, SearchResult]:
    """The quantizers of tensors between layers, some for a part of the range.

    Parameters
    ----------
    graph : Graph
        The network.
    searches : Mapping[str, SearchResult]
        Tensor → its quantizer, for tensors between layers.
    read : dict[str, Quantizer]
        Tensor → quantizer, for tensors that layers read.
    """
    found = dict(searches)
    counting: dict[str, list[Range]] = {}
    quantizers = read | {tensor: search.quantizer for tensor, search in found.items()}

    def known_range(tensor: str) -> Range | None:
        values = graph.constant(tensor)
        if values is not None:
            return range_of(values)
        source = _origin(graph, tensor, quantizers)
        return None if source is None else quantizers[source].range

    def counted_of(node: NodeDef, position: int, own: Range, made: Range) -> Range | None:
        if node.op in CHOICES:
            return part(own, made) if position in CHOICES[node.op] else None
        if node.op in PRODUCTS:
            limits = _of_product(graph, node, position, made)
            return None if limits is None else part(own, limits)
        other = known_range(nd.data_inputs(node)[1 - position])
        return None if other is None else counted(SUMS[node.op], position, own, other, made)

    for node in reversed(list(graph.nodes.values())):
        made = found.get(f"{node.name}:0")
        if made is None or made.low == made.high or node.op not in OF_CODES | PRODUCTS:
            continue
        for position, tensor in enumerate(nd.data_inputs(node)):
            source = _origin(graph, tensor, found, alone=True)
            if source is None:
                continue
            search = found[source]
            kept = counted_of(node, position, (search.low, search.high), made.quantizer.range)
            if kept is None:
                continue
            parts = counting.setdefault(source, [])
            parts.append(kept)
            if len(parts) == len(graph.consumers(source)):
                low, high = min(low for low, _ in parts), max(high for _, high in parts)
                found[source] = _within(search, (low, high), graph.producer(source).op in OF_CODES)
                quantizers[source] = found[source].quantizer
    return found


def _origin(graph: Graph, tensor: str, known: Mapping[str, object], alone: bool = False) -> str | None:
    """The known tensor that is a tensor itself or only rearranged into it; ``alone``: into nothing else."""
    if tensor in known and (not alone or _is_read_alone(graph, tensor, several=True)):
        return tensor
    while True:
        name, index = nd.split_tensor(tensor)
        node = graph.nodes[name]
        if alone and not _is_read_alone(graph, tensor):
            return None
        if f"{name}:{index}" in known:
            return f"{name}:{index}"
        if node.op not in REARRANGING:
            return None
        tensor = nd.data_inputs(node)[0]


def _is_read_alone(graph: Graph, tensor: str, several: bool = False) -> bool:
    """Whether a node has one result, which a single node, or some, read and nobody else."""
    name, index = nd.split_tensor(tensor)
    if several and name not in graph.output_nodes:
        return graph.read_outputs(name) == (0,)
    return index == 0 and graph.only_consumer(name) is not None


def _of_product(graph: Graph, node: NodeDef, position: int, made: Range) -> Range | None:
    """What counts of a number that is multiplied with, or divided by, positive constants."""
    factors = graph.constant(nd.data_inputs(node)[1 - position])
    if factors is None or (node.op == "RealDiv" and position == 1):
        return None
    least, most = float(factors.min(initial=np.inf)), float(factors.max(initial=0))
    if not 0 < least <= most < np.inf:
        return None
    size = most if node.op == "RealDiv" else 1 / least
    return made[0] * size, made[1] * size


def _within(search: SearchResult, kept: Range, of_codes: bool) -> SearchResult:
    """The search's quantizer for a part of its range; its own where nearly all counts.

    Of what is not made of codes, numbers in float become some.
    """
    least, most = search.low, search.high
    farthest = 0 if of_codes else 256 / MOST_STEPS
    low, high = min(kept[0], farthest * least), max(kept[1], farthest * most)
    if high - low > NEARLY_ALL * (most - least):
        return search
    quantizer = Quantizer.from_range(low, high, asymmetric=search.quantizer.offset != 0)
    return replace(search, quantizer=quantizer, low=low, high=high, reach=max(-least, most))

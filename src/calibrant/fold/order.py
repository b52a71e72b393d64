"""The fusions (docs/specification/graph.md), in the order of trial. A new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from calibrant.fold import bias, cast, decomposed_batch_norm, dilated, fused_norm, reshaped, scalar
from calibrant.fold.chain import FoldChain, Recogniser, follow
from calibrant.fold.group import group_head
from calibrant.fold.result import NotFused
from calibrant.fold.target import FoldTarget, layer_head
from calibrant.graph.graph import Graph

RECOGNISERS: tuple[Recogniser, ...] = (
    fused_norm.recognise,  # 1
    dilated.recognise,  # 2
    scalar.recognise,  # 3, before 6: a factor of size 1 is a number, not a norm
    reshaped.recognise,  # 5
    cast.recognise,
    decomposed_batch_norm.recognise,  # 6
    bias.recognise,  # 7
)
HEADS = (layer_head, group_head)  # 4 is a head: a concatenation that stands for its convolutions


def chains(graph: Graph, skip: Collection[str]) -> Iterator[FoldChain | NotFused]:
    """What can be folded behind every layer and group convolution; Left for a norm behind one that is left alone."""
    for node in graph.nodes.values():
        for make in HEADS:
            target = make(graph, node, skip)
            if isinstance(target, FoldTarget):
                yield follow(graph, target, RECOGNISERS, skip)
            elif target is not None:
                yield NotFused(node.name, target)

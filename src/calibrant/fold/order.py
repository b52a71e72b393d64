"""The fusions (docs/specification/graph.md), in the order of trial. A new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from calibrant.fold import bias, cast, decomposed_batch_norm, dilated, fused_norm, reshaped, scalar, transposed
from calibrant.fold.chain import FoldChain, Recogniser, follow
from calibrant.fold.group import group_target
from calibrant.fold.result import NotFused
from calibrant.fold.target import FoldTarget, layer_target
from calibrant.graph.graph import Graph

RECOGNISERS: tuple[Recogniser, ...] = (
    fused_norm.recognise,  # 1
    dilated.recognise,  # 2
    scalar.recognise,  # 3, before 6: a factor of size 1 is a number, not a norm
    reshaped.recognise,  # 5
    transposed.recognise,
    cast.recognise,
    decomposed_batch_norm.recognise,  # 6
    bias.recognise,  # 7
)
TARGETS = (layer_target, group_target)  # group_target is fusion 4: a concatenation is the target


def chains(graph: Graph, skip: Collection[str]) -> Iterator[FoldChain | NotFused]:
    """The chain after every layer and group convolution; NotFused for a target that is left unchanged."""
    for node in graph.nodes.values():
        for make in TARGETS:
            target = make(graph, node, skip)
            if isinstance(target, FoldTarget):
                yield follow(graph, target, RECOGNISERS, skip)
            elif target is not None:
                yield NotFused(node.name, target)

"""The fusions of spec 03, in the order in which they are tried on a node. A new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from calibrant.fold import bias, dilated, fused_norm, reshaped, scalar, written_norm
from calibrant.fold.chain import Chain, Recogniser, follow
from calibrant.fold.group import group_head
from calibrant.fold.head import Head, layer_head
from calibrant.fold.result import Left
from calibrant.graph.graph import Graph

RECOGNISERS: tuple[Recogniser, ...] = (
    fused_norm.recognise,  # 1
    dilated.recognise,  # 2
    scalar.recognise,  # 3, before 6: a factor of size 1 is a number, not a norm
    reshaped.recognise,  # 5
    written_norm.recognise,  # 6
    bias.recognise,  # 7
)
HEADS = (layer_head, group_head)  # 4 is a head: a concatenation that stands for its convolutions


def chains(graph: Graph, skip: Collection[str]) -> Iterator[Chain | Left]:
    """What can be folded behind every layer and group convolution; Left for a norm behind one that is left alone."""
    for node in graph.nodes.values():
        for make in HEADS:
            head = make(graph, node, skip)
            if isinstance(head, Head):
                yield follow(graph, head, RECOGNISERS, skip)
            elif head is not None:
                yield Left(node.name, head)

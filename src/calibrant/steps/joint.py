"""Step: which quantizers share one scale, so that additions run on integers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import reduce

from calibrant.algorithms.histogram import Histogram
from calibrant.config.plan import ActivationPlan
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.layer_kinds import ADDITIONS
from calibrant.graph.layers import Layer

NodeInput = tuple[str, int]
TRANSPARENT = frozenset({"Relu", "Identity"})


@dataclass(frozen=True)
class JointGroup:
    """Quantizers that get one scale and offset.

    Parameters
    ----------
    name : that of its first addition in graph order.
    settings : of the first quantizer in graph order that the group had before the additions joined; symmetric where
        any of its quantizers can only be that.
    additions : the Add and AddV2 nodes, in graph order.
    places : (node, input index) of every quantizer, the additions' inputs included, in graph order.
    """

    name: str
    settings: ActivationPlan
    additions: tuple[str, ...]
    places: tuple[NodeInput, ...]


def joint_groups(
    graph: Graph,
    layers: Mapping[str, Layer],
    places: Mapping[NodeInput, ActivationPlan],
    skip_layers: Collection[str] = (),
) -> tuple[JointGroup, ...]:
    """The groups of a graph in graph order.

    Every addition of two activations ties together what it reads and what it makes; a tensor and its Relu or Identity
    count as one. An addition that ``skip_layers`` names, or near which nothing is quantized, ties nothing.

    Parameters
    ----------
    places : the quantizers that there are, with their settings.
    """
    additions = [node.name for node in graph.nodes.values() if _adds_activations(graph, node.name, skip_layers)]
    sets = _Sets()
    for name in additions:
        sets.join(_root(graph, f"{name}:0"), *(_root(graph, tensor) for tensor in nd.data_inputs(graph.nodes[name])))
    order = {name: number for number, name in enumerate(graph.nodes)}
    members: dict[str, list[NodeInput]] = {}
    for place in sorted(places, key=lambda place: (order[place[0]], place[1])):
        representative = sets.find(_root(graph, _read(graph, place)))
        members.setdefault(representative, []).append(place)
    groups: dict[str, list[str]] = {}
    for name in additions:
        groups.setdefault(sets.find(_root(graph, f"{name}:0")), []).append(name)
    return tuple(
        _group(names, members[representative], layers, places, order)
        for representative, names in groups.items()
        if representative in members
    )


def with_joint_places(
    places: Mapping[NodeInput, ActivationPlan], groups: Collection[JointGroup]
) -> dict[NodeInput, ActivationPlan]:
    """The quantizers that there were, in their order, then the additions' inputs; a group shares its settings."""
    return {**places, **{place: group.settings for group in groups for place in group.places}}


def joint_histograms(
    graph: Graph, groups: Collection[JointGroup], histograms: Mapping[str, Histogram]
) -> dict[NodeInput, tuple[str, Histogram]]:
    """For each quantizer in a group, the group's name and the merged statistic of all tensors that the group reads."""
    result = {}
    for group in groups:
        tensors = dict.fromkeys(_read(graph, place) for place in group.places)
        merged = reduce(Histogram.merge, [histograms[tensor] for tensor in tensors])
        result.update(dict.fromkeys(group.places, (group.name, merged)))
    return result


def _group(
    additions: list[str],
    members: list[NodeInput],
    layers: Mapping[str, Layer],
    places: Mapping[NodeInput, ActivationPlan],
    order: Mapping[str, int],
) -> JointGroup:
    settings = places[members[0]]
    if any(name in layers and layers[name].is_dynamic for name, _ in members):
        settings = replace(settings, asymmetric=False)
    every = {*members, *((name, index) for name in additions for index in (0, 1))}
    return JointGroup(
        additions[0],
        settings,
        tuple(additions),
        tuple(sorted(every, key=lambda place: (order[place[0]], place[1]))),
    )


def _adds_activations(graph: Graph, name: str, skip_layers: Collection[str]) -> bool:
    node = graph.nodes[name]
    return (
        node.op in ADDITIONS
        and name not in skip_layers
        and graph.dtype(f"{name}:0").name == "float32"
        and all(graph.constant(tensor) is None for tensor in nd.data_inputs(node))
    )


def _root(graph: Graph, tensor: str) -> str:
    """The tensor in front of any Relu and Identity."""
    node = graph.producer(tensor)
    while node.op in TRANSPARENT:
        tensor = nd.data_inputs(node)[0]
        node = graph.producer(tensor)
    return tensor


def _read(graph: Graph, place: NodeInput) -> str:
    return nd.data_inputs(graph.nodes[place[0]])[place[1]]


class _Sets:
    """Disjoint sets of tensors; each is known by the tensor it began with."""

    def __init__(self) -> None:
        self._above: dict[str, str] = {}

    def find(self, tensor: str) -> str:
        """The representative of the set that holds a tensor."""
        path = []
        while tensor in self._above:
            path.append(tensor)
            tensor = self._above[tensor]
        for passed in path:
            self._above[passed] = tensor
        return tensor

    def join(self, *tensors: str) -> None:
        """Make the sets of all tensors one."""
        first, *others = (self.find(tensor) for tensor in tensors)
        for other in others:
            if other != first:
                self._above[other] = first

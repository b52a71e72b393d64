"""Step: which quantizers share one scale, so that additions run on integers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import reduce

from calibrant.algorithms.histogram import Histogram
from calibrant.config.plan import ActivationPlan, JointGroup, LayerPlan, Plan, TensorPlan
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.layers import Layer
from calibrant.graph.node_input import NodeInput, read_tensor
from calibrant.layer_kinds import ADDITIONS

TRANSPARENT = frozenset({"Relu", "Identity"})
PRIORITIES = ("tensor_quantize", "override_layer_configs", "config.json", "override_layer_types", "common_config")
_MOST_NAMES = 5


@dataclass(frozen=True)
class Request:
    """The settings that one quantizer asks for, and where they were written."""

    settings: ActivationPlan
    origin: str

    @property
    def rank(self) -> int:
        """Smaller for a higher priority."""
        return next((rank for rank, name in enumerate(PRIORITIES) if self.origin.startswith(name)), len(PRIORITIES))


def with_joint_settings(plan: Plan, graph: Graph, layers: Mapping[str, Layer], skip_layers: Collection[str]) -> Plan:
    """The plan with its groups, and with each member's settings those that the group gets.

    A group takes the settings of highest priority that a member asks for, of equal ones the first in graph order. It
    has 8 bits, and is symmetric where any member of 8 bits is. A warning names the members whose settings do not apply.
    """
    if not plan.joint_quant:
        return plan
    requests = _requests(plan, layers)
    groups, warnings = [], []
    for additions, members in joint_members(graph, requests, skip_layers):
        group, warning = _settled(graph, additions, {place: requests[place] for place in members})
        groups.append(group)
        warnings += warning
    if not groups:
        warnings.append("joint_quant has no effect: there is no addition of two activations with a quantizer near it")
    of_place = {place: group for group in groups for place in group.places}
    return replace(
        plan,
        layers=tuple(_joined_layer(entry, of_place) for entry in plan.layers),
        tensors=tuple(_joined_tensor(entry, of_place) for entry in plan.tensors),
        groups=tuple(groups),
        warnings=(*plan.warnings, *warnings),
    )


def _requests(plan: Plan, layers: Mapping[str, Layer]) -> dict[NodeInput, Request]:
    requests = {
        (entry.name, index): Request(entry.activation, dict(entry.sources)["activation"])
        for entry in plan.layers
        for index in layers[entry.name].data_inputs
    }
    for entry in plan.tensors:
        requests[entry.layer_name, entry.input_index] = Request(entry.activation, entry.origin)
    return requests


def _settled(graph: Graph, additions: list[str], members: Mapping[NodeInput, Request]) -> tuple[JointGroup, list[str]]:
    """A group with the settings that it gets, and the warning if members ask for different ones."""
    winner = min(members, key=lambda place: members[place].rank)
    symmetric = [
        place for place, request in members.items() if request.settings.bits == 8 and not request.settings.asymmetric
    ]
    wide = members[winner].settings.bits != 8
    settings = replace(members[winner].settings, asymmetric=not symmetric, bits=8)
    order = {name: number for number, name in enumerate(graph.nodes)}
    every = {*members, *((name, index) for name in additions for index in (0, 1))}
    places = tuple(sorted(every, key=lambda place: (order[place[0]], place[1])))
    group = JointGroup(additions[0], settings, tuple(additions), places)
    others = [place for place, request in members.items() if request.settings != settings]
    if not others:
        return group, []
    taken = f"{_name(winner)} ({members[winner].origin})"
    if symmetric and members[winner].settings.asymmetric:
        taken += f", symmetric because of {_name(symmetric[0])}"
    if wide:
        taken += ", with 8 bits, as additions on integers have"
    named = ", ".join(f"{_name(place)} ({members[place].origin})" for place in others[:_MOST_NAMES] if place != winner)
    more = f" and {len(others) - _MOST_NAMES} more" if len(others) > _MOST_NAMES else ""
    warning = f"joint_quant: the group of {additions[0]!r} gets the activation settings of {taken}"
    return group, [f"{warning}; those of {named}{more} do not apply" if named else warning]


def _name(place: NodeInput) -> str:
    return repr(place[0]) if place[1] == 0 else repr(f"{place[0]}:{place[1]}")


def _joined_layer(entry: LayerPlan, of_place: Mapping[NodeInput, JointGroup]) -> LayerPlan:
    group = next((group for place, group in of_place.items() if place[0] == entry.name), None)
    if group is None:
        return entry
    joined = f"joint_quant ({group.name})"
    sources = {**dict(entry.sources), "activation": joined, "asymmetric": joined}
    return replace(entry, activation=group.settings, sources=tuple(sources.items()))


def _joined_tensor(entry: TensorPlan, of_place: Mapping[NodeInput, JointGroup]) -> TensorPlan:
    group = of_place.get((entry.layer_name, entry.input_index))
    return entry if group is None else replace(entry, activation=group.settings)


def joint_members(
    graph: Graph, places: Collection[NodeInput], skip_layers: Collection[str]
) -> list[tuple[list[str], list[NodeInput]]]:
    """(additions, quantizers) of each group in graph order, each in graph order.

    Every addition of two activations ties together what it reads and what it makes; a tensor and its Relu or Identity
    count as one. An addition that ``skip_layers`` names, or near which nothing is quantized, ties nothing.

    Parameters
    ----------
    places : Collection[NodeInput]
        The quantizers that there are.
    """
    additions = [node.name for node in graph.nodes.values() if _adds_activations(graph, node.name, skip_layers)]
    sets = _Sets()
    for name in additions:
        sets.join(_root(graph, f"{name}:0"), *(_root(graph, tensor) for tensor in nd.data_inputs(graph.nodes[name])))
    order = {name: number for number, name in enumerate(graph.nodes)}
    members: dict[str, list[NodeInput]] = {}
    for place in sorted(places, key=lambda place: (order[place[0]], place[1])):
        representative = sets.find(_root(graph, read_tensor(graph, place)))
        members.setdefault(representative, []).append(place)
    groups: dict[str, list[str]] = {}
    for name in additions:
        groups.setdefault(sets.find(_root(graph, f"{name}:0")), []).append(name)
    return [(names, members[root]) for root, names in groups.items() if root in members]


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
        tensors = dict.fromkeys(read_tensor(graph, place) for place in group.places)
        merged = reduce(Histogram.merge, [histograms[tensor] for tensor in tensors])
        result.update(dict.fromkeys(group.places, (group.name, merged)))
    return result


def _adds_activations(graph: Graph, name: str, skip_layers: Collection[str]) -> bool:
    node = graph.nodes[name]
    return (
        node.op in ADDITIONS
        and name not in skip_layers
        and graph.dtype(f"{name}:0").name == "float32"
        and not graph.computes_in_half
        and all(graph.constant(tensor) is None for tensor in nd.data_inputs(node))
    )


def _root(graph: Graph, tensor: str) -> str:
    """The tensor before any Relu and Identity."""
    node = graph.producer(tensor)
    while node.op in TRANSPARENT:
        tensor = nd.data_inputs(node)[0]
        node = graph.producer(tensor)
    return tensor


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

"""A ``tf.Graph`` that computes a rewritten network, in place, and hands tensors over while its owner runs it.

Operations whose values a rewrite leaves alone stay what they are and only read other tensors where they have to. All
other nodes of the rewritten network are added under a scope of their own, and the old ones stay beside them. So every
tensor can still be fetched under its name and has the value that it had.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from calibrant.errors import ModelError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph, ordered
from calibrant.graph.needs import nearest, needs
from calibrant.graph.pieces import whole
from calibrant.graph.reading.possible_outputs import IN_PLACE
from calibrant.graph.running.full_runs import nodes_as_good
from calibrant.graph.tensorflow import tensorflow
from calibrant.graph.tf_core import GraphDef, NodeDef

Watchers = Mapping[tuple[str, ...], Callable[..., None]]
"""Tensors of the rewritten network → function that is called with their values, once in each run of an output
that needs all inputs which they need, or of a node in front of it that is as good."""


@dataclass(eq=False)
class Rewiring:
    """What was changed in a ``tf.Graph``; can be taken back."""

    _before: list[tuple[Any, int, Any]] = field(default_factory=list)
    _controls: list[tuple[Any, list[Any]]] = field(default_factory=list)

    def set_input(self, operation: Any, index: int, tensor: Any) -> None:
        """Let an operation read another tensor."""
        if operation.inputs[index] is not tensor:
            self._before.append((operation, index, operation.inputs[index]))
            operation._update_input(index, tensor)

    def wait_for(self, operation: Any, others: list[Any]) -> None:
        """Let an operation run after others."""
        self._controls.append((operation, list(operation.control_inputs)))
        operation._add_control_inputs(others)

    def undo(self) -> None:
        """Let every operation read again what it read before; what was added stays, and nobody reads it."""
        while self._controls:
            operation, others = self._controls.pop()
            operation._remove_all_control_inputs()
            operation._add_control_inputs(others)
        while self._before:
            operation, index, tensor = self._before.pop()
            operation._update_input(index, tensor)


@dataclass(frozen=True)
class Meaning:
    """What the nodes of a rewritten network are, seen from the original.

    Parameters
    ----------
    altered : frozenset[str]
        Nodes whose values are not those of the original's nodes of the same name.
    renewed : frozenset[str]
        Nodes that were written anew and have the values of the original's nodes of the same name.
    """

    altered: frozenset[str]
    renewed: frozenset[str]

    @classmethod
    def of(cls, changed: Graph, starts: Collection[str], renewed: Collection[str]) -> Meaning:
        """Values become others at ``starts``, for example a convolution that a norm was folded into, and are the
        original's again at ``renewed``, for example the BiasAdd that the norm has become.
        """
        altered = set(starts) & changed.nodes.keys()
        for name, node in changed.nodes.items():  # producers come before consumers
            if name not in renewed and any(nd.node_name(tensor) in altered for tensor in nd.data_inputs(node)):
                altered.add(name)
        return cls(frozenset(altered), frozenset(renewed) & changed.nodes.keys())


def rewire(target: Any, original: Graph, changed: Graph, meaning: Meaning, watchers: Watchers) -> Rewiring:
    """Let a ``tf.Graph`` compute a rewritten network, and call the watchers whenever it is run to one of its ends.

    Sessions that ran the graph before have to be opened anew.

    Parameters
    ----------
    target : Any
        ``tf.Graph``, changed in place.
    original : Graph
        What was read from it.
    changed : Graph
        The rewritten network, with the same outputs.
    meaning : Meaning
        Of the nodes of ``changed``.
    watchers : Watchers
        Called on threads of the session that runs the graph, several at once. An array is only valid during the call.
        What a function raises is an error of that run.

    Raises
    ------
    ModelError
        An output is not an operation of the ``tf.Graph``.
    """
    tf = tensorflow()
    operations = {operation.name: operation for operation in target.get_operations()}
    absent = [tensor for tensor in original.outputs if nd.node_name(tensor) not in operations]
    if absent:
        hint = "freeze the graph with convert_variables_to_constants_v2, which leaves no functions"
        raise ModelError(*(Problem("stays inside a function of the graph", path=name, hint=hint) for name in absent))
    kept = {
        name
        for name, node in changed.nodes.items()
        if name in operations
        and operations[name].outputs  # one without any cannot be read from outside the scope, not even to wait for it
        and name not in meaning.altered
        and _alike(node, original.nodes.get(name), changed, original)
    }
    scope = _import(tf, target, changed, kept)

    def tensor_of(tensor: str) -> Any:
        return target.get_tensor_by_name(tensor if nd.node_name(tensor) in kept else f"{scope}/{tensor}")

    rewiring = Rewiring()
    for name, node in original.nodes.items():
        if name not in operations:
            continue
        wanted = nd.data_inputs(changed.nodes[name] if name in kept else node)
        for index, tensor in enumerate(wanted):
            producer = nd.node_name(tensor)
            if name in kept or producer in meaning.renewed:
                rewiring.set_input(operations[name], index, tensor_of(tensor))
    with target.as_default(), tf.name_scope(f"{scope}/"), tf.control_dependencies(None):
        calls = {
            tensors: tf.numpy_function(function, [tensor_of(tensor) for tensor in tensors], [])
            for tensors, function in watchers.items()
        }
    _in_order(rewiring, changed, calls)
    seen: dict[str, list[tuple[str, ...]]] = {}
    for before, after in zip(original.outputs, changed.outputs, strict=True):
        others = changed.input_nodes - ordered(changed.nodes, [after]).keys()  # of other networks: nobody feeds them
        unseen = _descendants(changed, {nd.node_name(before), nd.node_name(after), *others})
        seen[after] = [tensors for tensors in calls if unseen.isdisjoint(map(nd.node_name, tensors))]
        rewiring.wait_for(operations[nd.node_name(before)], [calls[tensors] for tensors in seen[after]])
    ends = original.output_nodes
    for name, output in nodes_as_good(changed, seen).items():
        if name in operations and name in original.nodes and name not in ends:
            rewiring.wait_for(operations[name], [calls[tensors] for tensors in seen[output]])
    return rewiring


def _in_order(rewiring: Rewiring, changed: Graph, calls: Mapping[tuple[str, ...], Any]) -> None:
    """Let each watcher of one tensor wait for those of the tensors that it needs, so the first to fail is reported."""
    if changed.regions:
        return
    of_node: dict[str, list[Any]] = {}
    for tensors, call in calls.items():
        if len(tensors) == 1:
            of_node.setdefault(nd.node_name(tensors[0]), []).append(call)
    needed = needs(changed, of_node)
    for name, waiting in of_node.items():
        first = [call for other in sorted(nearest(needed, name)) for call in of_node[other]]
        for call in waiting if first else ():
            rewiring.wait_for(call, first)


def _alike(node: NodeDef, before: NodeDef | None, changed: Graph, original: Graph) -> bool:
    """Whether a node is the operation it was, reading the same constants."""
    if node is before:
        return True
    if before is None or node.op != before.op or node.attr != before.attr:
        return False
    now, then = nd.data_inputs(node), nd.data_inputs(before)
    return len(now) == len(then) and all(
        first == second or (changed.constant(first) is None and original.constant(second) is None)
        for first, second in zip(now, then, strict=True)
    )


def _import(tf: Any, target: Any, changed: Graph, kept: Collection[str]) -> str:
    """Add all nodes but the kept ones under a new scope; its name."""
    definition = GraphDef(versions=changed.versions, library=changed.library)
    definition.node.extend(whole(node) for name, node in changed.nodes.items() if name not in kept)
    references = {reference for node in definition.node for reference in node.input}
    from_outside = {reference for reference in references if nd.node_name(reference) in kept}
    with target.as_default(), target.name_scope(None), tf.control_dependencies(None):
        scope = target.unique_name(IN_PLACE, mark_as_used=False)
        tf.graph_util.import_graph_def(
            definition,
            name=scope,
            input_map={
                reference: target.get_tensor_by_name(nd.tensor_name(reference.removeprefix("^")))
                for reference in from_outside
            },
        )
    return scope


def _descendants(graph: Graph, names: Iterable[str]) -> set[str]:
    """Nodes that read one of these, directly or through others, and these themselves."""
    descendants = set(names)
    for name, node in graph.nodes.items():
        if any(nd.node_name(reference) in descendants for reference in node.input):
            descendants.add(name)
    return descendants

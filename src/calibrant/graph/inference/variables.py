"""Variables that become constants of their values, without running anything."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from calibrant.errors import ModelError
from calibrant.graph import nodes as nd
from calibrant.graph.functions.control_flow import needed_library
from calibrant.graph.functions.inline import inline_calls
from calibrant.graph.graph import ordered
from calibrant.graph.inference.assigned_variables import (
    PASSED_ON,
    assignment_problem,
    assigns_resource,
    behind,
    source_of,
    with_constants,
)
from calibrant.graph.inference.variable_reads import READERS
from calibrant.graph.inference.variable_tensors import OtherUseError, Variable, VariableTensors
from calibrant.graph.tf_core import GraphDef, NodeDef


def freeze(
    graph_def: GraphDef,
    tensors: Sequence[str],
    variables: Mapping[str, Variable],
    read: Callable[[str], np.ndarray | None],
    is_decided: bool = False,
) -> GraphDef | None:
    """What tensors of a graph need, calls inlined and variables as constants of their values.

    None where a variable is used otherwise than by reading it, for example assigned in a loop, or has no value. What
    assigns one in the graph itself is left to
    :func:`~calibrant.graph.inference.assigned_variables.without_assignments`.

    Parameters
    ----------
    variables : Mapping[str, Variable]
        By the node that is the handle of each.
    read : Callable[[str], np.ndarray | None]
        Handle → value, or None. Called once for each variable that the tensors need, and nothing else is kept in memory
        meanwhile.
    is_decided : bool
        The graph is what constants have left of a model, so that TensorFlow's own conversion, of the whole model, is
        no second way.
    """
    used = what_is_used(graph_def, tensors)
    functions = VariableTensors(used.library, all_calls=is_decided)
    nodes = with_constants({node.name: node for node in used.node}, variables)
    try:
        rest = functions.rewritten([node for name, node in nodes.items() if name not in variables], variables)
    except OtherUseError:
        return None
    frozen = GraphDef(versions=used.versions)
    for node in used.node:
        if node.name in variables:
            value = read(node.name)
            if value is None:
                return None
            nd.fill_constant(frozen.node.add(), node.name, value)
            del value  # before the next one is read
    frozen.node.extend(rest)
    frozen.library.CopyFrom(needed_library(rest, functions.library()))
    return frozen


def what_is_used(graph_def: GraphDef, tensors: Sequence[str]) -> GraphDef:
    """What tensors of a graph need, producers first, calls inlined and without what a run assigns to variables.

    Where a variable is read after it was assigned, that stays.
    """
    whole = inlined(graph_def, tensors)
    nodes = {node.name: node for node in whole.node}
    needed = ordered(_without_assignments(nodes), tensors)
    if _assigned_before(nodes, needed):
        needed = ordered(nodes, tensors)
    used = GraphDef(versions=whole.versions, library=whole.library)
    used.node.extend(needed.values())
    return used


def inlined(graph_def: GraphDef, tensors: Sequence[str]) -> GraphDef:
    """What tensors of a graph need, producers first and calls inlined."""
    kept = ordered({node.name: node for node in graph_def.node}, tensors)
    light = GraphDef(versions=graph_def.versions)
    light.node.extend(kept.values())
    light.library.CopyFrom(needed_library(kept.values(), graph_def.library))
    return inline_calls(light, tensors)


def _without_assignments(nodes: Mapping[str, NodeDef]) -> dict[str, NodeDef]:
    """The nodes, none of which waits for an assignment or for a value that it does not read.

    What a run leaves behind does not matter to its result.
    """
    assigning = {node.name for node in nodes.values() if assigns_resource(node)}
    if not assigning:
        return dict(nodes)
    idle = assigning | {node.name for node in nodes.values() if node.op in READERS}
    has_loops = any(node.op == "Enter" for node in nodes.values())
    result = {}
    for node in nodes.values():
        controls = nd.control_inputs(node)
        rest = [*nd.data_inputs(node), *(f"^{name}" for name in controls if name not in idle)]
        is_placed = bool(rest) or not has_loops  # a constant may be in a loop by what it waits for
        result[node.name] = node if len(rest) == len(node.input) or not is_placed else nd.copy_node(node, rest)
    return result


def refuse_assigned(graph_def: GraphDef, tensors: Sequence[str], source: str) -> None:
    """Check that the tensors read, and hand on, no variable that the graph has assigned before.

    Raises
    ------
    ModelError
        They do. TensorFlow's own conversion would leave the assignment out, or say something else.
    """
    found = read_after_assignment(graph_def, tensors)
    if found:
        raise ModelError(*(assignment_problem(node.name, node.op, source) for node in found))


def read_after_assignment(graph_def: GraphDef, tensors: Sequence[str]) -> list[NodeDef]:
    """What assigns variables that the tensors read, or hand on, afterwards."""
    nodes = {node.name: node for node in inlined(graph_def, tensors).node}
    return _assigned_before(nodes, ordered(_without_assignments(nodes), tensors))


def _assigned_before(nodes: Mapping[str, NodeDef], names: Collection[str]) -> list[NodeDef]:
    """What assigns variables that some of the nodes read, or hand on, afterwards in the same run."""
    assigned = {name: source_of(nodes, node.input[0]) for name, node in nodes.items() if assigns_resource(node)}
    if not assigned:
        return []
    readers: dict[str, set[str]] = {}
    for name in names:
        if name not in assigned and nodes[name].op not in PASSED_ON:
            for reference in nd.data_inputs(nodes[name]):
                readers.setdefault(source_of(nodes, reference), set()).add(name)
    later = behind(nodes, assigned)
    return [nodes[name] for name, handle in assigned.items() if readers.get(handle, set()) & later[name]]

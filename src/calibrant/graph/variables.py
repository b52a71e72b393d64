"""Variables that become constants of their values, without running anything."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.assigned_variables import behind, with_constants
from calibrant.graph.control_flow import needed_library
from calibrant.graph.graph import ordered
from calibrant.graph.inline import inline_calls
from calibrant.graph.tf_core import GraphDef, NodeDef
from calibrant.graph.variable_reads import READERS
from calibrant.graph.variable_tensors import OtherUseError, Variable, VariableTensors

ASSIGNMENTS = frozenset({"AssignAddVariableOp", "AssignSubVariableOp", "AssignVariableOp"})


def freeze(
    graph_def: GraphDef,
    tensors: Sequence[str],
    variables: Mapping[str, Variable],
    read: Callable[[str], np.ndarray | None],
) -> GraphDef | None:
    """What tensors of a graph need, calls inlined and variables as constants of their values.

    None where a variable is used otherwise than by reading it, for example assigned in a loop, or has no value. What
    assigns one in the graph itself is left to :func:`~calibrant.graph.assigned_variables.without_assignments`.

    Parameters
    ----------
    variables : Mapping[str, Variable]
        By the node that is the handle of each.
    read : Callable[[str], np.ndarray | None]
        Handle → value, or None. Called once for each variable that the tensors need, and nothing else is kept in memory
        meanwhile.
    """
    used = what_is_used(graph_def, tensors)
    functions = VariableTensors(used.library)
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
    kept = ordered({node.name: node for node in graph_def.node}, tensors)
    light = GraphDef(versions=graph_def.versions)
    light.node.extend(kept.values())
    light.library.CopyFrom(needed_library(kept.values(), graph_def.library))
    inlined = inline_calls(light, tensors)
    nodes = {node.name: node for node in inlined.node}
    needed = ordered(_without_assignments(nodes), tensors)
    if _reads_assigned(nodes, needed):
        needed = ordered(nodes, tensors)
    used = GraphDef(versions=inlined.versions, library=inlined.library)
    used.node.extend(needed.values())
    return used


def _without_assignments(nodes: Mapping[str, NodeDef]) -> dict[str, NodeDef]:
    """The nodes, none of which waits for an assignment or for a value that it does not read.

    What a run leaves behind does not matter to its result.
    """
    if not any(node.op in ASSIGNMENTS for node in nodes.values()):
        return dict(nodes)
    idle = {node.name for node in nodes.values() if node.op in ASSIGNMENTS | READERS}
    result = {}
    for node in nodes.values():
        controls = nd.control_inputs(node)
        kept = [f"^{name}" for name in controls if name not in idle]
        result[node.name] = node if len(kept) == len(controls) else nd.copy_node(node, [*nd.data_inputs(node), *kept])
    return result


def _reads_assigned(nodes: Mapping[str, NodeDef], names: Collection[str]) -> bool:
    """Whether some of the nodes read a variable after it was assigned in the same run."""
    assigning = {name: node for name, node in nodes.items() if node.op in ASSIGNMENTS}
    later = behind(nodes, assigning)
    reading = [nodes[name] for name in names if nodes[name].op in READERS]
    return any(
        node.input[0] == other.input[0] and node.name in later[name]
        for name, other in assigning.items()
        for node in reading
    )

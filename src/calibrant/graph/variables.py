"""Variables that become constants of their values, without running anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.control_flow import needed_library
from calibrant.graph.graph import ordered
from calibrant.graph.inline import inline_calls
from calibrant.graph.tf_core import GraphDef, NodeDef

READERS = frozenset({"ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VariableShape"})
ASSIGNMENTS = frozenset({"AssignAddVariableOp", "AssignSubVariableOp", "AssignVariableOp"})


def freeze(
    graph_def: GraphDef,
    tensors: Sequence[str],
    dtypes: Mapping[str, Any],
    read: Callable[[str], np.ndarray | None],
) -> GraphDef | None:
    """What tensors of a graph need, calls inlined and variables as constants of their values.

    None where a variable is used otherwise than by reading it, for example in the body of a loop, or has no value.

    Parameters
    ----------
    dtypes : Mapping[str, Any]
        Node that is the handle of a variable → the variable's dtype.
    read : Callable[[str], np.ndarray | None]
        Handle → value, or None. Called once for each variable that the tensors need, and nothing else is kept in memory
        meanwhile.
    """
    used = what_is_used(graph_def, tensors)
    if used is None:
        return None
    needed = {node.name: node for node in used.node}
    known = _variable_dtypes(needed, dtypes)
    if known is None:
        return None
    frozen = GraphDef(versions=used.versions, library=used.library)
    for name, node in needed.items():
        if name in dtypes:
            value = read(name)
            if value is None:
                return None
            nd.fill_constant(frozen.node.add(), name, value)
            del value  # before the next one is read
        else:
            frozen.node.extend(_frozen(node, known))
    return frozen


def what_is_used(graph_def: GraphDef, tensors: Sequence[str]) -> GraphDef | None:
    """What tensors of a graph need, producers first, calls inlined and without what a run assigns to variables.

    None where a variable is read after it was assigned.
    """
    kept = ordered({node.name: node for node in graph_def.node}, tensors)
    light = GraphDef(versions=graph_def.versions)
    light.node.extend(kept.values())
    light.library.CopyFrom(needed_library(kept.values(), graph_def.library))
    inlined = inline_calls(light, tensors)
    nodes = {node.name: node for node in inlined.node}
    needed = ordered(_without_assignments(nodes), tensors)
    if any(_reads_assigned(nodes[name], nodes) for name in needed):
        return None
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


def _reads_assigned(node: NodeDef, nodes: Mapping[str, NodeDef]) -> bool:
    """Whether a variable is read after it was assigned in the same run."""
    if node.op not in READERS:
        return False
    waited = (nodes[name] for name in nd.control_inputs(node))
    return any(other.op in ASSIGNMENTS and other.input[0] == node.input[0] for other in waited)


def _variable_dtypes(nodes: Mapping[str, NodeDef], handles: Mapping[str, Any]) -> dict[str, Any] | None:
    """The nodes that stand for a variable → its dtype; None where other operations than READERS have one."""
    handle_of: dict[str, Any] = {}
    for node in nodes.values():
        if node.name in handles:
            handle_of[node.name] = handles[node.name]
            continue
        variables = [nd.node_name(tensor) for tensor in nd.data_inputs(node) if nd.node_name(tensor) in handle_of]
        if variables and node.op == "Identity":
            handle_of[node.name] = handle_of[variables[0]]
        elif variables and node.op not in READERS:
            return None
    return handle_of


def _frozen(node: NodeDef, dtypes: Mapping[str, Any]) -> list[NodeDef]:
    """What takes the place of a node where variables are constants."""
    if node.name in dtypes:
        return [nd.make_node("Identity", node.name, node.input, T=dtypes[node.name])]
    if node.op not in READERS:
        return [node]
    dtype = dtypes[nd.node_name(node.input[0])]
    if node.op == "ReadVariableOp":
        return [nd.make_node("Identity", node.name, node.input, T=dtype)]
    if node.op == "VariableShape":
        shape = nd.make_node("Shape", node.name, node.input, T=dtype)
        shape.attr["out_type"].CopyFrom(node.attr["out_type"])
        return [shape]
    indices = node.attr["Tindices"]
    if node.op == "ResourceGatherNd":
        gather = nd.make_node("GatherNd", node.name, node.input, Tparams=dtype)
        gather.attr["Tindices"].CopyFrom(indices)
        return [gather]
    axis = nd.constant_node(f"{node.name}/axis", np.array(0, np.int32))
    inputs = (*nd.data_inputs(node), axis.name, *(f"^{name}" for name in nd.control_inputs(node)))
    gather = nd.make_node("GatherV2", node.name, inputs, Tparams=dtype)
    gather.attr["Taxis"].CopyFrom(axis.attr["dtype"])
    gather.attr["Tindices"].CopyFrom(indices)
    gather.attr["batch_dims"].CopyFrom(node.attr["batch_dims"])
    return [axis, gather]

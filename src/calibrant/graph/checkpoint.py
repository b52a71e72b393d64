"""The variables of a SavedModel, read from its checkpoint without running anything.

A SavedModel of TensorFlow 2 has a function that restores its variables. What it assigns to which says where each of
them lies in the checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from calibrant.graph import nodes as nd
from calibrant.graph.control_flow import needed_library
from calibrant.graph.graph import ordered
from calibrant.graph.inline import inline_calls
from calibrant.graph.tensorflow import tensorflow

READERS = frozenset({"ReadVariableOp", "ResourceGather"})


def frozen_from_checkpoint(folder: Path, meta_graph: Any, tensors: Sequence[str]) -> GraphDef | None:
    """What tensors of a meta graph need, calls inlined and variables as constants of their values.

    None where a variable is used otherwise than by reading it, or is not found: then it takes a session.
    """
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    keys = checkpoint_keys(nodes, meta_graph)
    if keys is None:
        return None
    kept = ordered(nodes, tensors)
    light = GraphDef(versions=meta_graph.graph_def.versions)
    light.node.extend(kept.values())
    light.library.CopyFrom(needed_library(kept.values(), meta_graph.graph_def.library))
    inlined = inline_calls(light, tensors)
    places = {node.name: node for node in inlined.node}
    dtypes = _variable_dtypes(ordered(places, tensors))
    if dtypes is None:
        return None
    handles = {name: dtype for name, dtype in dtypes.items() if places[name].op == "VarHandleOp"}
    values = _values(folder, keys, handles)
    if values is None:
        return None
    frozen = GraphDef(versions=inlined.versions, library=inlined.library)
    for name in ordered(places, tensors):
        frozen.node.extend(_frozen(places[name], values, dtypes))
    return frozen


def checkpoint_keys(nodes: Mapping[str, NodeDef], meta_graph: Any) -> dict[str, str] | None:
    """VarHandleOp node → its key in the checkpoint; None where the restoring has another form than TensorFlow 2's."""
    call = nodes.get(nd.node_name(meta_graph.saver_def.restore_op_name))
    if call is None or "f" not in call.attr:
        return None
    name = call.attr["f"].func.name
    function = next((each for each in meta_graph.graph_def.library.function if each.signature.name == name), None)
    if function is None or len(function.signature.input_arg) != len(nd.data_inputs(call)):
        return None
    handles = {
        argument.name: nd.node_name(tensor)
        for argument, tensor in zip(function.signature.input_arg, nd.data_inputs(call), strict=True)
    }
    return dict(_assigned({node.name: node for node in function.node_def}, handles))


def _assigned(nodes: Mapping[str, NodeDef], handles: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(VarHandleOp node, checkpoint key) of each variable that the nodes of a restoring function assign."""
    for node in nodes.values():
        if node.op != "AssignVariableOp" or node.input[0] not in handles:
            continue
        source, _, index = node.input[1].partition(":")
        while source in nodes and nodes[source].op == "Identity":
            source, _, index = nodes[source].input[0].partition(":")
        restore = nodes.get(source)
        if restore is None or restore.op != "RestoreV2":
            continue
        names, slices = (nodes[each.partition(":")[0]].attr["value"].tensor.string_val for each in restore.input[1:3])
        position = int(index.rpartition(":")[2])
        if not slices[position]:
            yield handles[node.input[0]], names[position].decode()


def _variable_dtypes(nodes: Mapping[str, NodeDef]) -> dict[str, Any] | None:
    """The nodes that stand for a variable → its dtype; None where other operations than READERS have one."""
    found: dict[str, Any] = {}
    for node in nodes.values():
        if node.op == "VarHandleOp":
            found[node.name] = nd.attribute(node, "dtype")
            continue
        variables = [nd.node_name(tensor) for tensor in nd.data_inputs(node) if nd.node_name(tensor) in found]
        if variables and node.op == "Identity":
            found[node.name] = found[variables[0]]
        elif variables and node.op not in READERS:
            return None
    return found


def _values(folder: Path, keys: Mapping[str, str], handles: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
    """VarHandleOp node → value; None where the checkpoint lacks one, or has it in another dtype."""
    reader = tensorflow().train.load_checkpoint(str(folder / "variables" / "variables"))
    dtypes = reader.get_variable_to_dtype_map()
    if any(dtypes.get(keys.get(name)) != dtype for name, dtype in handles.items()):
        return None
    return {name: reader.get_tensor(keys[name]) for name in handles}


def _frozen(node: NodeDef, values: Mapping[str, np.ndarray], dtypes: Mapping[str, Any]) -> Iterator[NodeDef]:
    """What takes the place of a node where variables are constants."""
    if node.name in values:
        yield nd.constant_node(node.name, values[node.name])
    elif node.name in dtypes:
        yield nd.make_node("Identity", node.name, node.input, T=dtypes[node.name])
    elif node.op == "ReadVariableOp":
        yield nd.make_node("Identity", node.name, node.input, T=nd.attribute(node, "dtype"))
    elif node.op == "ResourceGather":
        axis = nd.constant_node(f"{node.name}/axis", np.array(0, np.int32))
        yield axis
        inputs = (*nd.data_inputs(node), axis.name, *(f"^{name}" for name in nd.control_inputs(node)))
        gather = nd.make_node("GatherV2", node.name, inputs, Tparams=nd.attribute(node, "dtype"))
        gather.attr["Taxis"].CopyFrom(axis.attr["dtype"])
        for key in ("Tindices", "batch_dims"):
            gather.attr[key].CopyFrom(node.attr[key])
        yield gather
    else:
        yield node

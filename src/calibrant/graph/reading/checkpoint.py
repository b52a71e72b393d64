"""The variables of a SavedModel, read from its checkpoint without running anything.

A SavedModel of TensorFlow 2 has a function that restores its variables. What it assigns to which says where each of
them lies in the checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from calibrant.errors import ModelError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.inference.variable_tensors import Variable
from calibrant.graph.inference.variables import freeze
from calibrant.graph.tensorflow import tensorflow
from calibrant.graph.tf_core import GraphDef, NodeDef

REFERENCES = frozenset({"Variable", "VariableV2"})  # variables of TensorFlow 1.x, which are read without an operation


def frozen_from_checkpoint(
    folder: Path, meta_graph: Any, graph_def: GraphDef, tensors: Sequence[str]
) -> GraphDef | None:
    """What tensors of a meta graph need, calls inlined and variables as constants of their values.

    None where a variable is used otherwise than by reading it, or is not found: then it takes a session.

    Parameters
    ----------
    graph_def : GraphDef
        That of the meta graph, or what is left of it.

    Raises
    ------
    ModelError
        The values of a variable have another shape: they belong to another model.
    """
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    keys = checkpoint_keys(nodes, meta_graph)
    if keys is None:
        return None
    tf = tensorflow()
    reader = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
    dtypes, shapes = reader.get_variable_to_dtype_map(), reader.get_variable_to_shape_map()
    variables = {
        node.name: Variable(nd.attribute(node, "dtype"), node.attr["shape"].shape)
        for node in nodes.values()
        if node.op == "VarHandleOp"
    }

    def read(handle: str) -> Any:
        key, variable = keys.get(handle), variables[handle]
        if dtypes.get(key) != variable.dtype:
            return None
        shape = tf.TensorShape(variable.shape)
        if not shape.is_compatible_with(shapes[key]):
            message = f"the values in variables/ have shape {shapes[key]}, the model's have {shape.as_list()}"
            hint = "copy the whole folder again: its variables/ are those of another model"
            name = str(key).removesuffix("/.ATTRIBUTES/VARIABLE_VALUE")
            raise ModelError(Problem(message, file=str(folder), path=name, hint=hint))
        return reader.get_tensor(key)

    return freeze(graph_def, tensors, variables, read, is_decided=graph_def is not meta_graph.graph_def)


def checkpoint_keys(nodes: Mapping[str, NodeDef], meta_graph: Any) -> dict[str, str] | None:
    """VarHandleOp node → its key in the checkpoint; None where the restoring has an unknown form."""
    call = nodes.get(nd.node_name(meta_graph.saver_def.restore_op_name))
    if call is None:
        return None
    if call.op == "NoOp":  # of TensorFlow 1.15, and of models above 2 GB
        if any(node.op in REFERENCES for node in nodes.values()):
            return None
        return _whole(assigned_keys(nodes, {name: name for name, node in nodes.items() if node.op == "VarHandleOp"}))
    if "f" not in call.attr:
        return None
    name = call.attr["f"].func.name
    function = next((each for each in meta_graph.graph_def.library.function if each.signature.name == name), None)
    if function is None or len(function.signature.input_arg) != len(nd.data_inputs(call)):
        return None
    handles = {
        argument.name: nd.node_name(tensor)
        for argument, tensor in zip(function.signature.input_arg, nd.data_inputs(call), strict=True)
    }
    return _whole(assigned_keys({node.name: node for node in function.node_def}, handles))


def _whole(found: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    return {name: key for name, key, part in found if not part}


def assigned_keys(nodes: Mapping[str, NodeDef], handles: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """(Node, checkpoint key, part of it) of each variable to which nodes that restore a model assign its value.

    The part is empty where the variable has the whole value; otherwise as TensorFlow writes slices: ``8 3 0,4:-``.

    Parameters
    ----------
    nodes : Mapping[str, NodeDef]
        Of a graph, or of a function that restores.
    handles : Mapping[str, str]
        What stands for a variable there → the node that it is.
    """
    for node in nodes.values():
        if node.op not in ("Assign", "AssignVariableOp") or node.input[0] not in handles:
            continue
        source, _, index = node.input[1].partition(":")
        while source in nodes and nodes[source].op == "Identity":
            source, _, index = nodes[source].input[0].partition(":")
        restore = nodes.get(source)
        if restore is None or restore.op != "RestoreV2":
            continue
        names, slices = (nodes[each.partition(":")[0]].attr["value"].tensor.string_val for each in restore.input[1:3])
        position = int(index.rpartition(":")[2] or 0)
        yield handles[node.input[0]], names[position].decode(), slices[position].decode()

"""Models of more than 2 GB, which no protobuf file can hold: as a SavedModel whose large weights are variables."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from calibrant.emit.saved_model import described
from calibrant.errors import OutputError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph, ordered
from calibrant.graph.running.session import is_large_constant, open_session
from calibrant.graph.skeleton import large_constants
from calibrant.graph.tensorflow import tensorflow
from calibrant.graph.tf_core import GraphDef, SaverDef, VariableDef

LIMIT = 2**31 - 1  # bytes of a protobuf message
_ROOM = 1 << 24  # for all but the large constants


def is_too_large(graph: Graph) -> bool:
    """Whether a file of the graph would exceed what protobuf can read."""
    return large_constants(graph) > LIMIT - _ROOM


def require_one_file(graph: Graph, name: str) -> None:
    """The graph fits into one file.

    Raises
    ------
    OutputError
        It would exceed 2 GB.
    """
    if is_too_large(graph):
        raise OutputError(
            Problem(
                "would exceed 2 GB, which no protobuf file can hold",
                file=name,
                hint="leave out this export; the fake-quantized model is written as a SavedModel with variables",
            )
        )


def large_model_writer(graph: Graph) -> Callable[[Path], None]:
    """A function that writes the model as a SavedModel at a path; its signature is ``serving_default``."""
    return partial(_write, graph)


def _write(graph: Graph, path: Path) -> None:
    (path / "variables").mkdir(parents=True)
    names = [node.name for node in graph.nodes.values() if is_large_constant(node)]
    with open_session(graph) as session:
        definition = _what_is_needed(graph, session.graph.as_graph_def())
        _save(session, names, path / "variables" / "variables")
    handles = {node.name: node.input[0] for node in definition.node if node.op == "ReadVariableOp"}
    handles = {name: handles[name] for name in names}
    saver = _add_restoring(definition, handles)
    model = described(graph, definition)
    meta = model.meta_graphs[0]
    meta.saver_def.CopyFrom(saver)
    for name, handle in handles.items():
        variable = VariableDef(
            variable_name=f"{handle}:0", initializer_name=f"{handle}/assign", snapshot_name=f"{name}:0"
        )
        variable.is_resource = True
        meta.collection_def["variables"].bytes_list.value.append(variable.SerializeToString(deterministic=True))
    (path / "saved_model.pb").write_bytes(model.SerializeToString(deterministic=True))


def _what_is_needed(graph: Graph, definition: GraphDef) -> GraphDef:
    """The graph of a session without what has set its variables, but with what may set them."""
    nodes = {node.name: node for node in definition.node}
    assigned = [f"{node.input[0]}/assign" for node in definition.node if node.op == "ReadVariableOp"]
    result = GraphDef(versions=definition.versions, library=definition.library)
    result.node.extend(ordered(nodes, [*graph.inputs, *graph.outputs, *assigned]).values())
    return result


def _save(session: Any, names: list[str], prefix: Path) -> None:
    """Write the values of constants that are variables in a session to a checkpoint."""
    tf = tensorflow()
    with session.graph.as_default():
        saved = tf.raw_ops.SaveV2(
            prefix=str(prefix),
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=[session.graph.get_tensor_by_name(f"{name}:0") for name in names],
        )
    try:
        session.run(saved)
    except tf.errors.OpError as error:
        reason = str(error.message).splitlines()[0]
        raise OutputError(Problem(f"cannot be written: {reason}", file=prefix.parent.parent.name)) from None


def _add_restoring(definition: GraphDef, handles: dict[str, str]) -> SaverDef:
    """Add the operations that restore the variables."""
    nodes = {node.name: node for node in definition.node}
    scope = "save"
    while any(name.startswith(f"{scope}/") for name in nodes):
        scope += "_1"
    file = nd.constant_node(f"{scope}/Const", np.array("model", object))
    names = nd.constant_node(f"{scope}/names", np.array(list(handles), object))
    slices = nd.constant_node(f"{scope}/slices", np.array([""] * len(handles), object))
    restored = nd.make_node("RestoreV2", f"{scope}/RestoreV2", [file.name, names.name, slices.name])
    assigned = []
    for index, (name, handle) in enumerate(handles.items()):
        dtype = nd.attribute(nodes[name], "dtype")
        restored.attr["dtypes"].list.type.append(dtype.as_datatype_enum)
        assigned.append(
            nd.make_node(
                "AssignVariableOp", f"{scope}/assign_{index}", [handle, f"{restored.name}:{index}"], dtype=dtype
            )
        )
    everything = nd.make_node("NoOp", f"{scope}/restore_all", [f"^{node.name}" for node in assigned])
    definition.node.extend((file, names, slices, restored, *assigned, everything))
    return SaverDef(
        filename_tensor_name=f"{file.name}:0",
        save_tensor_name=f"{file.name}:0",
        restore_op_name=everything.name,
        version=SaverDef.V2,
    )

"""A graph in a TensorFlow session, with its weights handed over once and beside the graph.

Weights inside a GraphDef are copied each time that TensorFlow looks at the graph: when it is imported, when the session
takes it over, and in every pass of the graph optimizer. For 100 million of them that is ten seconds and four gigabytes
before the first result. Here large constants become variables instead, which are set without the graph being touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from calibrant.collector import collector_paused
from calibrant.errors import ModelError, Problem
from calibrant.forks import note_use
from calibrant.graph import nodes as nd
from calibrant.graph.functions.inline import CALLS
from calibrant.graph.graph import Graph
from calibrant.graph.pieces import is_in_pieces, join_pieces, whole
from calibrant.graph.tensorflow import cause_of, note_open_session, tensorflow
from calibrant.graph.tf_core import GraphDef, NodeDef, dtypes

LARGE_ELEMENTS = 4096
AT_ONCE = 1 << 26  # bytes
FEW_BYTES = 1 << 20
"""Of large constants that are copied faster than variables are set."""

_KINDS = frozenset("biufcV")  # of NumPy; V: bfloat16 and the 8-bit floats


def open_session(graph: Graph, config: Any = None) -> Any:
    """A ``tf.compat.v1.Session`` whose ``graph`` is an import of this one, under the same names, ready to run.

    Raises
    ------
    ModelError
        TensorFlow does not import the graph.
    DependencyError
        This process is a fork of one in which TensorFlow ran.
    """
    tf = tensorflow()
    note_use()
    resident = {name: node for name, node in graph.nodes.items() if is_large_constant(node)}
    if sum(map(constant_bytes, resident.values())) <= FEW_BYTES:
        resident = {}
    prefix = _free_prefix(graph)
    definition = GraphDef(versions=graph.versions, library=graph.library)
    for name, node in graph.nodes.items():
        if name in resident:
            definition.node.extend(_variable(node, f"{prefix}{name}"))
        else:
            definition.node.append(whole(node))
    config = tf.compat.v1.ConfigProto() if config is None else config
    if any(node.op in CALLS for node in graph.nodes.values()):
        # It infers other shapes for branches of TensorFlow's own selection of boxes, and complains of them.
        config.graph_options.rewrite_options.disable_tfg_optimizer = True
    with collector_paused(), tf.Graph().as_default() as imported:
        try:
            tf.graph_util.import_graph_def(definition, name="")
        except (ValueError, TypeError, tf.errors.OpError) as error:
            raise ModelError(Problem(f"TensorFlow refuses the graph: {cause_of(error)}", file=graph.source)) from None
        session = tf.compat.v1.Session(graph=imported, config=config)
    note_open_session()
    in_pieces = {name: node for name, node in resident.items() if is_in_pieces(_value(node))}
    for group in _groups({name: node for name, node in resident.items() if name not in in_pieces}):
        _assign(session, prefix, {name: resident[name] for name in group})
    for name, node in in_pieces.items():
        _assign_joined(session, f"{prefix}{name}", node)
    return session


def unoptimized() -> Any:
    """Settings of a session that runs every node as it is."""
    tf = tensorflow()
    config = tf.compat.v1.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    config.graph_options.optimizer_options.opt_level = tf.compat.v1.OptimizerOptions.L0
    return config


def close_session(session: Any) -> None:
    """Close a session of :func:`open_session` and free its variables at once."""
    session.close()
    if any(operation.type == "PyFunc" for operation in session.graph.get_operations()):
        tf = tensorflow()
        with tf.compat.v1.Session(graph=tf.Graph()) as another:
            with another.graph.as_default():
                nothing = tf.no_op()
            another.run(nothing)  # arrays that TensorFlow held are let go of when a session runs


def _assign(session: Any, prefix: str, constants: Mapping[str, NodeDef]) -> None:
    feeds = {f"{prefix}{name}/value:0": nd.constant_value(node) for name, node in constants.items()}
    session.run([f"{prefix}{name}/assign" for name in constants], feeds)


def _assign_joined(session: Any, name: str, node: NodeDef) -> None:
    """Set a variable to an array that it then holds itself: what is fed would be copied."""
    tf, given = tensorflow(), [_value(node)]  # taken out, because TensorFlow keeps the function for long
    with session.graph.as_default():
        joined = tf.numpy_function(
            lambda: join_pieces(given.pop()), [], _dtype(node), stateful=True, name=f"{name}/joined"
        )
        handle = session.graph.get_tensor_by_name(f"{name}:0")
        assigned = tf.raw_ops.AssignVariableOp(resource=handle, value=joined, name=f"{name}/assign_joined")
    session.run(assigned)


def is_large_constant(node: NodeDef) -> bool:
    """Whether a node is a Const of many numbers. One that waits for others belongs to a loop and does not count."""
    if node.op != "Const" or node.input:
        return False
    tensor = _value(node)
    if tensor.dtype == dtypes.string.as_datatype_enum:
        return False
    return nd.elements(tensor.tensor_shape) >= LARGE_ELEMENTS and np.dtype(_dtype(node).as_numpy_dtype).kind in _KINDS


def constant_bytes(node: NodeDef) -> int:
    """How many bytes the numbers of a Const take."""
    return nd.elements(_value(node).tensor_shape) * _dtype(node).size


def _value(node: NodeDef) -> Any:
    return node.attr["value"].tensor


def _dtype(node: NodeDef) -> Any:
    return dtypes.as_dtype(node.attr["dtype"].type)


def _variable(node: NodeDef, name: str) -> Iterator[NodeDef]:
    """What takes the place of a constant: a variable, the reading of it under the constant's name, and its setting."""
    dtype, shape = node.attr["dtype"], _value(node).tensor_shape
    handle = nd.make_node("VarHandleOp", name, [], dtype=dtype, shared_name=name)
    value = nd.make_node("Placeholder", f"{name}/value", [], dtype=dtype)
    for added in (handle, value):
        added.attr["shape"].shape.CopyFrom(shape)
        yield added
    yield nd.make_node("ReadVariableOp", node.name, [name], dtype=dtype)
    yield nd.make_node("AssignVariableOp", f"{name}/assign", [name, f"{name}/value"], dtype=dtype)


def _free_prefix(graph: Graph) -> str:
    prefix = "resident/"
    while any(name.startswith(prefix) for name in graph.nodes):
        prefix = f"more_{prefix}"
    return prefix


def _groups(constants: dict[str, NodeDef]) -> Iterator[list[str]]:
    group: list[str] = []
    size = 0
    for name, node in constants.items():
        group.append(name)
        size += constant_bytes(node)
        if size >= AT_ONCE:
            yield group
            group, size = [], 0
    if group:
        yield group

"""Checkpoints of TensorFlow 1.x: the graph in ``NAME.meta``, the values of its variables in files beside it.

Nothing is run. What the saver assigns to which variable says where each value lies in the checkpoint.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from calibrant.errors import ModelError, Problem
from calibrant.graph import frozen
from calibrant.graph import nodes as nd
from calibrant.graph.checkpoint import REFERENCES, assigned_keys
from calibrant.graph.graph import Graph, ordered
from calibrant.graph.partial_runs import nodes_reached
from calibrant.graph.plausible import plausible
from calibrant.graph.possible_outputs import possible_outputs
from calibrant.graph.tensorflow import cause_of, tensorflow
from calibrant.graph.tf_core import GraphDef, MetaGraphDef, NodeDef
from calibrant.graph.variable_tensors import Variable
from calibrant.graph.variables import freeze

LOSSES = frozenset({"SoftmaxCrossEntropyWithLogits", "SparseSoftmaxCrossEntropyWithLogits"})
"""What reads the results of a classifier that is trained."""
_FED = frozenset({"Placeholder", "PlaceholderWithDefault", "IteratorGetNext"})
_BESIDE = re.compile(r"(gradients|save)(_\d+)?/")
_UPDATES = re.compile("(Resource|Sparse)*Apply")


def from_meta_graph(
    path: Path, inputs: Sequence[str] | None, outputs: Sequence[str] | None, constants: Mapping[str, Any] | None = None
) -> Graph:
    """What the outputs need of the graph in a ``.meta`` file, with the variables as constants.

    Raises
    ------
    ModelError
        A damaged file, no checkpoint beside it, a variable that it has no fitting value of, or no outputs named where
        the graph is also there for training.
    """
    graph_def, keys = _read(path)
    plausible(graph_def, str(path))
    nodes = {node.name: node for node in graph_def.node}
    try:
        named = frozen.resolve(nodes, outputs or _only_output(nodes, path), "output", str(path))
        tensors = (*named, *frozen.resolve(nodes, inputs or (), "input", str(path)))
    except ModelError as error:
        error.unfit = graph_def
        raise
    reader, prefix = _values(path)
    shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    shape_of = tensorflow().TensorShape

    def read(name: str) -> Any:
        node, key = nodes[name], keys.get(name, name)
        if dtypes.get(key) != nd.attribute(node, "dtype"):
            problem = f"the checkpoint has no value of the variable {name!r}"
            hint = "give the .meta file of the same checkpoint, or name outputs that do not need it"
            raise ModelError(Problem(problem, file=prefix, hint=hint))
        if not shape_of(node.attr["shape"].shape).is_compatible_with(shapes[key]):
            problem = f"the value of the variable {name!r} has shape {shapes[key]}, which is not that of the graph"
            raise ModelError(Problem(problem, file=prefix, hint="give the .meta file of the same checkpoint"))
        return reader.get_tensor(key)

    needed = GraphDef(versions=graph_def.versions, library=graph_def.library)
    for name, node in ordered(nodes, tensors).items():
        if node.op in REFERENCES:
            nd.fill_constant(needed.node.add(), name, read(name))
        else:
            needed.node.append(node)
    handles = {
        node.name: Variable(nd.attribute(node, "dtype"), node.attr["shape"].shape)
        for node in needed.node
        if node.op == "VarHandleOp"
    }
    constant = freeze(needed, tensors, handles, read) if handles else needed
    if constant is None:
        problem = "uses variables otherwise than by reading them"
        raise ModelError(Problem(problem, file=str(path), hint="save it for inference, as a SavedModel"))
    return frozen.select(constant, str(path), inputs, named, constants=constants, is_plausible=True)


def _read(path: Path) -> tuple[GraphDef, dict[str, str]]:
    """The graph, and the keys of its variables in the checkpoint by their nodes."""
    try:
        meta_graph = MetaGraphDef.FromString(path.read_bytes())
    except OSError as error:
        raise ModelError(Problem(f"cannot be read: {error.strerror}", file=str(path))) from None
    except DecodeError:
        meta_graph = MetaGraphDef()
    graph_def = meta_graph.graph_def
    if not graph_def.node or any(not node.name or not node.op for node in graph_def.node):
        problem = f"is not the graph of a checkpoint, or is cut short ({path.stat().st_size} bytes)"
        raise ModelError(
            Problem(problem, file=str(path), allowed="a binary MetaGraphDef, as a tf.train.Saver writes it")
        )
    nodes = {node.name: node for node in graph_def.node}
    variables = {name: name for name, node in nodes.items() if node.op in REFERENCES or node.op == "VarHandleOp"}
    return graph_def, dict(assigned_keys(nodes, variables))


def _values(path: Path) -> tuple[Any, str]:
    """What reads the values, and where they are."""
    prefix = str(path)[: -len(path.suffix)] if path.suffix else str(path.parent) + "/"
    try:
        return tensorflow().compat.v1.train.NewCheckpointReader(prefix), prefix
    except Exception as error:  # TensorFlow raises many kinds for absent and damaged files
        problem = f"the values of its variables cannot be read: {cause_of(error)}"
        hint = f"copy {prefix}.index and {prefix}.data-… beside it"
        raise ModelError(Problem(problem, file=str(path), hint=hint)) from None


def _only_output(nodes: Mapping[str, NodeDef], path: Path) -> list[str]:
    """The output of a graph that is there for inference alone.

    Raises
    ------
    ModelError
        There may be others.
    """
    logits = [nd.node_name(node.input[0]) for node in nodes.values() if node.op in LOSSES]
    forward = {name: node for name, node in nodes.items() if not _BESIDE.match(name)}
    readers: dict[str, list[str]] = {}
    for name, node in forward.items():
        for tensor in nd.data_inputs(node):
            readers.setdefault(nd.node_name(tensor), []).append(name)
    fed = nodes_reached(readers, [name for name, node in forward.items() if node.op in _FED])
    ends = possible_outputs({name: forward[name] for name in fed if not _UPDATES.match(forward[name].op)})
    if len(ends) == 1 and not logits:
        return ends
    found = list(dict.fromkeys((*logits, *ends)))
    raise ModelError(
        Problem(
            "the file does not say which tensors are outputs",
            file=str(path),
            allowed=f"for example {', '.join(found[:8])}" if found else None,
            hint="name them with --outputs; inspect --nodes lists all tensors",
        )
    )

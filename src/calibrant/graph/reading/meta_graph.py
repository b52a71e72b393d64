"""Checkpoints of TensorFlow 1.x: the graph in ``NAME.meta``, the values of its variables in files beside it.

Nothing is run. What the saver assigns to which variable says where each value lies in the checkpoint.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from calibrant.errors import ModelError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph, ordered
from calibrant.graph.inference.assigning_branches import switch_hint, without_assigning_branches
from calibrant.graph.inference.variable_tensors import Variable
from calibrant.graph.inference.variables import freeze
from calibrant.graph.reading import frozen
from calibrant.graph.reading.checkpoint import REFERENCES, assigned_keys
from calibrant.graph.reading.plausible import plausible
from calibrant.graph.reading.possible_outputs import possible_outputs
from calibrant.graph.running.partial_runs import nodes_reached
from calibrant.graph.tensorflow import cause_of, tensorflow
from calibrant.graph.tf_core import GraphDef, MetaGraphDef, NodeDef

LOSSES = frozenset({"SoftmaxCrossEntropyWithLogits", "SparseSoftmaxCrossEntropyWithLogits"})
"""What reads the results of a classifier that is trained."""
_FED = frozenset({"Placeholder", "PlaceholderWithDefault", "IteratorGetNext"})
_BESIDE = re.compile(r"(.*/)?(gradients|save)(_\d+)?/")
_UPDATES = re.compile("(Resource|Sparse)*Apply")


def from_meta_graph(
    path: Path, inputs: Sequence[str] | None, outputs: Sequence[str] | None, constants: Mapping[str, Any] | None
) -> Graph:
    """What the outputs need of the graph in a ``.meta`` file, with the variables as constants.

    Raises
    ------
    ModelError
        A damaged file, no checkpoint beside it, a variable that it has no fitting value of, or no outputs named where
        the graph is also there for training.
    """
    graph_def = _read(path)
    plausible(graph_def, str(path))
    nodes = {node.name: node for node in graph_def.node}
    try:
        named = frozen.resolve(nodes, outputs or _only_output(nodes, path), "output", str(path))
        fed = frozen.resolve(nodes, inputs or (), "input", str(path))
        constant = _frozen(graph_def, nodes, named, fed, constants, path)
    except ModelError as error:
        error.unfit = graph_def
        raise
    except Exception as error:  # TensorFlow raises many kinds for damaged files
        raise ModelError(Problem(f"cannot be read, or its values cannot: {cause_of(error)}", file=str(path))) from None
    return frozen.select(constant, str(path), inputs, named, constants=constants, is_plausible=True)


def _frozen(
    graph_def: GraphDef,
    nodes: Mapping[str, NodeDef],
    outputs: Sequence[str],
    inputs: Sequence[str],
    constants: Mapping[str, Any] | None,
    path: Path,
) -> GraphDef:
    """What outputs and inputs need, with the values of the checkpoint."""
    tensors: tuple[str, ...] = (*outputs, *inputs)
    read = _Values(nodes, path).read
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
    if not handles:
        return needed
    present = {node.name for node in needed.node}
    tensors += tuple(name for name in map(nd.node_name, constants or ()) if name in present)
    decided = without_assigning_branches(needed, tensors, str(path), constants, inputs)
    constant = freeze(decided, tensors, handles, read, is_decided=True)
    if constant is None:
        problem = "has variables that are assigned on the way to the outputs, or used otherwise than by reading them"
        advice = (
            switch_hint(needed, tensors, str(path), {}, constants or {}),
            "save it for inference, as a SavedModel or frozen graph",
        )
        raise ModelError(Problem(problem, file=str(path), hint=", or ".join(filter(None, advice))))
    return constant


class _Values:
    """The values of variables in the files beside a ``.meta`` file."""

    def __init__(self, nodes: Mapping[str, NodeDef], path: Path):
        self._nodes = nodes
        self._prefix = str(path)[: -len(path.suffix)] if path.suffix else str(path.parent) + "/"
        variables = {name: name for name, node in nodes.items() if node.op in REFERENCES or node.op == "VarHandleOp"}
        self._places = {name: (key, part) for name, key, part in assigned_keys(nodes, variables)}
        try:
            self._reader = tensorflow().compat.v1.train.NewCheckpointReader(self._prefix)
        except Exception as error:  # TensorFlow raises many kinds for absent and damaged files
            problem = f"the values of its variables cannot be read: {cause_of(error)}"
            hint = f"copy the other files of the checkpoint beside it: {self._prefix}.index and {self._prefix}.data-…"
            raise ModelError(Problem(problem, file=str(path), hint=hint)) from None
        self._dtypes = self._reader.get_variable_to_dtype_map()

    def read(self, name: str) -> np.ndarray:
        """The value of a variable, by its node.

        Raises
        ------
        ModelError
            There is none, or one of another shape, or it cannot be read.
        """
        node, (key, part) = self._nodes[name], self._places.get(name, (name, ""))
        hint = "give the .meta file of the same checkpoint, or name outputs that do not need it"
        if self._dtypes.get(key) != nd.attribute(node, "dtype"):
            problem = f"the checkpoint has no value of the variable {name!r}"
            raise ModelError(Problem(problem, file=self._prefix, hint=hint))
        try:
            value = np.asarray(self._reader.get_tensor(key))
        except Exception as error:  # of the file system, or of TensorFlow for damaged files
            problem = f"the value of the variable {name!r} cannot be read: {cause_of(error)}"
            hint = f"copy all files of the checkpoint again: {self._prefix}.data-…"
            raise ModelError(Problem(problem, file=self._prefix, hint=hint)) from None
        value = value[_slices(part)] if part else value
        if not tensorflow().TensorShape(node.attr["shape"].shape).is_compatible_with(value.shape):
            found = list(value.shape)
            problem = f"the value of the variable {name!r} has shape {found}, which is not that of the graph"
            raise ModelError(Problem(problem, file=self._prefix, hint=hint))
        return value


def _slices(part: str) -> tuple[slice, ...]:
    """The part of a value that ``8 3 0,4:-`` means: the first four of eight rows, with all three columns."""
    pairs = (axis.partition(",") for axis in part.split()[-1].split(":"))
    return tuple(
        slice(None) if first == "-" else slice(int(first), int(first) + int(count)) for first, _, count in pairs
    )


def _read(path: Path) -> GraphDef:
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
    return graph_def


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
    is_trained = any(_UPDATES.match(node.op) for node in nodes.values())
    if len(ends) == 1 and not logits and not is_trained:
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

"""What nodes inside loops, branches and functions read: handed over while they run, as none of it can be fetched."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tensorflow import tensorflow
from calibrant.graph.tf_core import FunctionDefLibrary, NodeDef

_IN = " in "  # no name in a graph has a space


@dataclass(frozen=True)
class EnclosedRead:
    """An input of a node that cannot be fetched.

    Parameters
    ----------
    function : str
        The function that the node is in; empty for a node of the graph itself, inside a loop or a branch.
    node : str
        Its name there.
    index : int
        Of the input.
    """

    function: str
    node: str
    index: int

    @property
    def key(self) -> str:
        """What stands for it among names of tensors."""
        return f"{self.node}:{self.index}{_IN}{self.function}"


def enclosed_read(key: str) -> EnclosedRead | None:
    """What a key stands for; None for the name of a tensor."""
    place, inside, function = key.partition(_IN)
    return EnclosedRead(function, *nd.split_tensor(place)) if inside else None


def with_watchers(graph: Graph, functions: Mapping[str, Callable[[np.ndarray], None]]) -> tuple[Graph, Any]:
    """The graph with a node in front of each reader that hands over what it is about to read.

    Parameters
    ----------
    graph : Graph
        The model.
    functions : Mapping[str, Callable[[np.ndarray], None]]
        :attr:`EnclosedRead.key` → function that is called with the values, as float32, each time that the reader runs,
        on any thread.

    Returns
    -------
    tuple[Graph, Any]
        The graph, and what has to be kept as long as it runs.
    """
    if not functions:
        return graph, None
    tf = tensorflow()
    kept = tf.Graph()
    bodies = {definition.signature.name: definition.node_def for definition in graph.library.function}
    inside: dict[str, list[tuple[EnclosedRead, NodeDef]]] = {}
    with kept.as_default():
        for key, function in functions.items():
            read = enclosed_read(key)
            if read is None:
                raise ValueError(f"{key!r} is a tensor that can be fetched")
            members = bodies[read.function] if read.function else [graph.nodes[read.node]]
            kind = next(nd.attribute(node, "T") for node in members if node.name == read.node)
            watcher = tf.numpy_function(_with_floats(function), [tf.compat.v1.placeholder(kind)], []).node_def
            inside.setdefault(read.function, []).append((read, watcher))
    nodes = dict(graph.nodes)
    for read, watcher in inside.pop("", []):
        reader = nd.copy_node(nodes[read.node], nodes[read.node].input)
        _put_in_front(reader, read.index, watcher, nodes)
        nodes |= {reader.name: reader, watcher.name: watcher}
    library = FunctionDefLibrary()
    library.CopyFrom(graph.library)
    for definition in library.function:
        named = {node.name: node for node in definition.node_def}
        for read, watcher in inside.get(definition.signature.name, ()):
            _put_in_front(named[read.node], read.index, watcher, named)
            named[watcher.name] = watcher
            definition.node_def.append(watcher)
    return replace(graph, nodes=nodes, library=library), kept


def _with_floats(function: Callable[[np.ndarray], None]) -> Callable[[np.ndarray], None]:
    return lambda values: function(values.astype(np.float32, copy=False))


def _put_in_front(reader: NodeDef, index: int, watcher: NodeDef, taken: Container[str]) -> None:
    """Let a watcher read what the reader reads, and the reader wait for it."""
    watcher.name = f"{reader.name}/watched"
    while watcher.name in taken:
        watcher.name += "_1"
    watcher.input[:] = [[reference for reference in reader.input if not reference.startswith("^")][index]]
    reader.input.append(f"^{watcher.name}")

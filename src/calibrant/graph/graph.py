"""One in-memory graph of NodeDefs, never changed in place: every rewrite gives a new one that shares the old nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.builder import NodeBuilder
from calibrant.graph.constants import ConstantReader
from calibrant.graph.functions.control_flow import control_flow_regions
from calibrant.graph.pieces import node_chunks, whole
from calibrant.graph.shapes import infer_shapes
from calibrant.graph.tf_core import FunctionDefLibrary, GraphDef, NodeDef, VersionDef, dtypes


@dataclass(frozen=True, eq=False)
class Graph:
    """A model as data.

    Parameters
    ----------
    nodes : Mapping[str, NodeDef]
        Name → NodeDef, producers before consumers. Treat the NodeDefs as frozen; change copies.
    inputs : tuple[str, ...]
        Tensors that are fed, ``node:index``.
    outputs : tuple[str, ...]
        Tensors that are the model's results, ``node:index``.
    input_keys, output_keys : tuple[str, ...]
        The names under which a signature knows them; equal to the node names where the format has none.
    library : FunctionDefLibrary
        Function library and producer versions of the GraphDef.
    versions : VersionDef
        Function library and producer versions of the GraphDef.
    source : str
        What the user called the model; for messages.
    """

    nodes: Mapping[str, NodeDef]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    input_keys: tuple[str, ...] = ()
    output_keys: tuple[str, ...] = ()
    library: FunctionDefLibrary = field(default_factory=FunctionDefLibrary)
    versions: VersionDef = field(default_factory=VersionDef)
    source: str = "model"

    def producer(self, tensor: str) -> NodeDef:
        """The node that makes a tensor."""
        return self.nodes[nd.node_name(tensor)]

    @cached_property
    def _readers(self) -> dict[str, tuple[tuple[NodeDef, int], ...]]:
        readers: dict[str, list[tuple[NodeDef, int]]] = {}
        for node in self.nodes.values():
            for index, tensor in enumerate(nd.data_inputs(node)):
                readers.setdefault(tensor, []).append((node, index))
        return {tensor: tuple(places) for tensor, places in readers.items()}

    @cached_property
    def _control_targets(self) -> frozenset[str]:
        return frozenset(name for node in self.nodes.values() for name in nd.control_inputs(node))

    def consumers(self, tensor: str) -> tuple[tuple[NodeDef, int], ...]:
        """Every (node, input index) that reads a tensor."""
        return self._readers.get(nd.tensor_name(tensor), ())

    def only_consumer(self, name: str) -> tuple[NodeDef, int] | None:
        """The single reader of a node, or None if it has several, feeds another output, or is a result itself."""
        if name in self.output_nodes or name in self._control_targets:
            return None
        readers = self.consumers(f"{name}:0")
        return readers[0] if len(readers) == 1 and self.read_outputs(name) == (0,) else None

    @cached_property
    def _read_outputs(self) -> dict[str, tuple[int, ...]]:
        read: dict[str, list[int]] = {}
        for tensor in self._readers:
            name, index = nd.split_tensor(tensor)
            read.setdefault(name, []).append(index)
        return {name: tuple(sorted(indices)) for name, indices in read.items()}

    def read_outputs(self, name: str) -> tuple[int, ...]:
        """Which outputs of a node other nodes read, in order."""
        return self._read_outputs.get(name, ())

    @cached_property
    def output_nodes(self) -> frozenset[str]:
        """Names of the nodes that make the outputs."""
        return frozenset(nd.node_name(tensor) for tensor in self.outputs)

    @cached_property
    def input_nodes(self) -> frozenset[str]:
        """Names of the nodes that are fed."""
        return frozenset(nd.node_name(tensor) for tensor in self.inputs)

    @cached_property
    def regions(self) -> Mapping[str, str]:
        """The nodes inside loops and branches of TensorFlow 1.x, with which of the two."""
        return control_flow_regions(self.nodes)

    @cached_property
    def computes_in_half(self) -> bool:
        """Whether anything that depends on an input is computed in float16."""
        return any(
            nd.attribute(node, "T") == dtypes.float16 and self.constant(f"{node.name}:0") is None
            for node in self.nodes.values()
            if node.op != "Const"
        )

    @cached_property
    def _constants(self) -> ConstantReader:
        return ConstantReader(self.nodes)

    def constant(self, tensor: str) -> np.ndarray | None:
        """The value of a tensor that depends on constants only, read-only; None where it depends on an input."""
        return self._constants.value(nd.tensor_name(tensor))

    def require_constant(self, tensor: str) -> np.ndarray:
        """The value of a tensor that is known to depend on constants only, read-only.

        Raises
        ------
        KeyError
            The tensor depends on an input.
        """
        return self._constants.require(nd.tensor_name(tensor))

    def constant_source(self, tensor: str) -> str | None:
        """The Const node that a tensor comes from, through Identity and its kind; None where there is none."""
        return self._constants.source(nd.tensor_name(tensor))

    @cached_property
    def tensors(self) -> Mapping[str, tuple[nd.OpenShape | None, Any]]:
        """Shape and dtype of every tensor; raises what TensorFlow raises where it does not accept the graph."""
        return infer_shapes(self.nodes.values(), self.library, self.versions)

    def shape(self, tensor: str) -> nd.OpenShape | None:
        """Static shape of a tensor as far as TensorFlow can tell; None where even the rank is unknown."""
        return self.tensors[nd.tensor_name(tensor)][0]

    def dtype(self, tensor: str) -> Any:
        """TensorFlow dtype of a tensor."""
        return self.tensors[nd.tensor_name(tensor)][1]

    def first_sizes(self, tensors: Iterable[str]) -> set[int]:
        """The sizes of the first axes of tensors, as far as they are not open."""
        return {shape[0] for tensor in tensors if (shape := self.shape(tensor)) and shape[0] is not None}

    def graph_def(self) -> GraphDef:
        """The graph as a protobuf message."""
        result = GraphDef(versions=self.versions, library=self.library)
        result.node.extend(whole(node) for node in self.nodes.values())
        return result

    def serialized(self) -> bytes:
        """The bytes of :meth:`graph_def`, always the same for the same graph."""
        return b"".join(self.chunks())

    def chunks(self) -> Iterator[bytes]:
        """The bytes of :meth:`serialized` one after the other, without a copy of the weights."""
        for node in self.nodes.values():
            yield from node_chunks(node)
        yield GraphDef(versions=self.versions, library=self.library).SerializeToString(deterministic=True)

    def edit(self) -> Edit:
        """Start a rewrite."""
        return Edit(self)


class Edit(NodeBuilder):
    """A rewrite in progress. Collect changes, then ``finish`` for the new, pruned and ordered graph."""

    def __init__(self, graph: Graph):
        super().__init__(graph.nodes)
        self.graph = graph

    def set_input(self, name: str, index: int, tensor: str) -> None:
        """Let data input ``index`` of a node read another tensor."""
        node = self.nodes[name]
        inputs = list(nd.data_inputs(node))
        inputs[index] = tensor
        self.put(nd.copy_node(node, [*inputs, *(f"^{control}" for control in nd.control_inputs(node))]))

    def finish(self, **changes: Any) -> Graph:
        """The new graph: what the outputs need, producers first. ``changes`` are fields of Graph to replace."""
        changed = replace(self.graph, **changes)
        result = replace(changed, nodes=ordered(self.nodes, (*changed.outputs, *changed.inputs)))
        vars(result)["_constants"] = self.graph._constants.for_nodes(result.nodes)
        return result


def ordered(nodes: Mapping[str, NodeDef], tensors: Iterable[str]) -> dict[str, NodeDef]:
    """The nodes that tensors depend on, producers before consumers (loop edges aside), always in the same order."""
    result: dict[str, NodeDef] = {}
    seen: set[str] = set()
    for root in dict.fromkeys(nd.node_name(tensor) for tensor in tensors):
        stack: list[tuple[str, bool]] = [(root, False)]
        while stack:
            name, done = stack.pop()
            if done:
                result[name] = nodes[name]
            elif name not in seen:
                seen.add(name)
                stack.append((name, True))
                stack.extend((nd.node_name(reference), False) for reference in reversed(nodes[name].input))
    return result

"""A GraphDef under change: nodes by name, the values of constant tensors, and small nodes to build with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.builder import NodeBuilder
from calibrant.graph.constants import ConstantReader
from calibrant.graph.tf_core import AttrValue, GraphDef, NodeDef, TensorShapeProto, dtypes


class ScopedBuilder(NodeBuilder):
    """The nodes of a graph while operators are being replaced.

    Parameters
    ----------
    graph_def : GraphDef
        Is not changed.
    """

    def __init__(self, graph_def: GraphDef):
        super().__init__({node.name: node for node in graph_def.node})
        self._original = graph_def
        self._constants = ConstantReader(dict(self.nodes))
        self._readers = _reader_counts(self.nodes.values())
        self._ends = frozenset(name for name in self.nodes if not self._readers[name])

    def constant(self, tensor: str) -> np.ndarray | None:
        """The value of a tensor of the original graph; None if it depends on an input."""
        return self._constants.value(nd.tensor_name(tensor))

    def require_constant(self, tensor: str) -> np.ndarray:
        """The value of a tensor of the original graph that is known to be constant.

        Raises
        ------
        KeyError
            The tensor depends on an input.
        """
        return self._constants.require(nd.tensor_name(tensor))

    def reader_count(self, name: str) -> int:
        """How many inputs of the original graph a node feeds, control inputs included."""
        return self._readers[name]

    def add_factor(self, name: str, value: np.ndarray) -> str:
        """A number that TensorFlow's optimizer does not multiply into others, as in the fake-quantized model."""
        shape = AttrValue(shape=TensorShapeProto())
        constant = self.add_constant(f"{name}/value", value)
        return self.add("PlaceholderWithDefault", name, [constant], dtype=dtypes.as_dtype(value.dtype), shape=shape)

    def cast(self, tensor: str, name: str, before: dtypes.DType, after: dtypes.DType) -> str:
        """A tensor as another type; the tensor itself if it has that type."""
        return tensor if before == after else self.add("Cast", name, [tensor], SrcT=before, DstT=after)

    def replace(self, name: str, tensor: str) -> None:
        """Let the node that makes ``tensor``, new and read by nobody, take a node's name and control inputs."""
        controls = [f"^{control}" for control in nd.control_inputs(self.nodes[name])]
        new = self.nodes.pop(nd.node_name(tensor))
        self.nodes[name] = nd.copy_node(new, [*nd.data_inputs(new), *controls], name)

    def _unread(self) -> list[str]:
        readers = _reader_counts(self.nodes.values())
        return [name for name in self.nodes if not readers[name] and name not in self._ends]

    def graph_def(self) -> GraphDef:
        """The changed graph, without the nodes that have lost their last reader or never had one."""
        while unread := self._unread():
            for name in unread:
                del self.nodes[name]
        result = GraphDef(versions=self._original.versions, library=self._original.library)
        result.node.extend(self.nodes.values())
        return result


def _reader_counts(nodes: Iterable[NodeDef]) -> Counter[str]:
    return Counter(nd.node_name(reference) for node in nodes for reference in node.input)

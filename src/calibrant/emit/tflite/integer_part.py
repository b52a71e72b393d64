"""Which part of a graph runs on integers in a LiteRT file, and where the factors of each of its tensors come from.

A configuration gives factors where layers read. Integer kernels need them on every tensor they make as well: behind
layers, additions, pooling, at the outputs. A tensor takes, in this order: the factors with which a layer reads it,
those of a layer that reads it through operations that only move values, those of the tensor it was moved from or is
concatenated into, and if there is none of these, factors of its own, which have to be observed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np
from tensorflow.core.framework.node_def_pb2 import NodeDef

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.emit.tflite.pooling import is_global_mean, is_global_pool
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.layers import ADDITIONS, Layer

MOVING = frozenset(
    {
        *("Identity", "Reshape", "Squeeze", "ExpandDims", "Transpose", "MaxPool", "Pad", "Split", "SplitV"),
        *("ConcatV2", "Slice", "StridedSlice", "SpaceToBatchND", "BatchToSpaceND", "SpaceToDepth", "DepthToSpace"),
    }
)
COMPUTING = ADDITIONS | {"Relu", "Relu6", "Mean", "AvgPool"}
FIXED = {
    "Softmax": Quantizer(np.float32(1 / 256), -128),
    "Sigmoid": Quantizer(np.float32(1 / 256), -128),
    "Tanh": Quantizer(np.float32(1 / 128), 0),
}
ACTIVATIONS = frozenset({"Relu", "Relu6"})
ONLY_THE_SHAPE = frozenset({"Shape", "ShapeN", "Size", "Rank"})

NodeInput = tuple[str, int]


class Own(Enum):
    """Marks a tensor whose factors no place gives: they are observed."""

    OBSERVED = "observed"


@dataclass(frozen=True)
class SameAs:
    """Marks a tensor that has the factors of another one."""

    tensor: str


Source = NodeInput | Quantizer | SameAs | Own


@dataclass(frozen=True)
class IntegerPart:
    """The integer part of one graph.

    Parameters
    ----------
    nodes : operations that run on integers; activations that are fused into them are not listed.
    sources : tensor → the place whose factors it has, the factors themselves where the kernel fixes them, another
        tensor of ``sources``, or ``Own.OBSERVED``; in graph order.
    """

    nodes: frozenset[str]
    sources: Mapping[str, Source]

    @property
    def observed(self) -> tuple[str, ...]:
        """Tensors that have to be observed, in graph order."""
        return tuple(tensor for tensor, source in self.sources.items() if source is Own.OBSERVED)


def integer_part(graph: Graph, layers: Collection[Layer], places: Collection[NodeInput]) -> IntegerPart:
    """Find the integer part.

    Parameters
    ----------
    graph : folded and balanced.
    layers : the quantized ones.
    places : every (node, input index) whose activation is quantized.
    """
    return _Search(graph, {layer.name: layer for layer in layers}, tuple(places)).result()


def moves(node: NodeDef) -> bool:
    """Whether an operation hands values on unchanged, so that its result has the factors of its input."""
    return node.op in MOVING


def fused_end(graph: Graph, name: str, bias: str | None = None) -> str:
    """The last node of a layer or addition: the BiasAdd and the activation behind it run in the same kernel."""
    end = bias or name
    reader = graph.only_consumer(end)
    return reader[0].name if reader is not None and reader[0].op in ACTIVATIONS else end


class _Search:
    def __init__(self, graph: Graph, layers: Mapping[str, Layer], places: tuple[NodeInput, ...]):
        self.graph = graph
        self.layers = layers
        self.places = frozenset(places)
        self.demands: dict[str, NodeInput] = {}
        for place in places:
            self.demands.setdefault(nd.data_inputs(graph.nodes[place[0]])[place[1]], place)
        self.ends = {name: fused_end(graph, name, layer.bias) for name, layer in layers.items() if layer.constant}
        self.ends.update(
            (name, fused_end(graph, name))
            for name, node in graph.nodes.items()
            if node.op in ADDITIONS and name not in self.ends.values()
        )
        self.nodes = self._candidates()
        self.made_by = {self.ends.get(name, name): name for name in self.nodes}

    def result(self) -> IntegerPart:
        while True:
            misfits = {name for name in self.nodes if name not in self.layers and not self._fits(name)}
            if not misfits:
                break
            self.nodes -= misfits
            self.made_by = {end: name for end, name in self.made_by.items() if name in self.nodes}
        sources: dict[str, Source] = {}
        for name in self.graph.nodes:
            if name in self.graph.input_nodes or name in self.made_by:
                for tensor in self._tensors(name):
                    if name in self.made_by or any(
                        self._reads(reader, index) for reader, index in self._readers(tensor)
                    ):
                        sources[tensor] = self._source(tensor, sources)
        self._share_concatenated(sources)
        return IntegerPart(frozenset(self.nodes), sources)

    def _share_concatenated(self, sources: dict[str, Source]) -> None:
        """A kernel concatenates codes of one scale: parts that no place gives factors have those of the whole."""
        for name in reversed(self.graph.nodes):
            node, whole = self.graph.nodes[name], f"{name}:0"
            if node.op == "ConcatV2" and name in self.nodes and sources.get(whole) is Own.OBSERVED:
                for part in self._activations(node):
                    while isinstance(source := sources.get(part), SameAs):
                        part = source.tensor
                    if source is Own.OBSERVED and part != whole:
                        sources[part] = SameAs(whole)

    def _candidates(self) -> set[str]:
        inside = {end for name, end in self.ends.items() if end != name}
        inside |= {layer.bias for layer in self.layers.values() if layer.bias}
        return {
            name
            for name, node in self.graph.nodes.items()
            if name in self.layers
            or (node.op in MOVING | COMPUTING | FIXED.keys() and name not in inside and self._is_integer_kind(node))
        }

    def _is_integer_kind(self, node: NodeDef) -> bool:
        inputs = self._activations(node)
        if not inputs or self.graph.dtype(f"{node.name}:0").name != "float32":
            return False
        if node.op in ADDITIONS:
            return len(inputs) == 2
        return node.op != "Mean" or is_global_mean(self.graph, node)

    def _activations(self, node: NodeDef) -> list[str]:
        return [
            tensor
            for tensor in nd.data_inputs(node)
            if self.graph.dtype(tensor).is_floating and self.graph.constant(tensor) is None
        ]

    def _fits(self, name: str) -> bool:
        node = self.graph.nodes[name]
        for tensor in self._activations(node):
            producer = nd.node_name(tensor)
            if producer not in self.made_by and producer not in self.graph.input_nodes:
                return False
        end = self.ends.get(name, name)
        for tensor in self._tensors(end):
            if not all(self._reads(reader, index) for reader, index in self._readers(tensor)):
                return False
            if node.op in FIXED and self._demanded(tensor) is not None:
                return False
        return True

    def _tensors(self, name: str) -> list[str]:
        """The outputs of a node that something reads."""
        found = {tensor for tensor in self.graph.outputs if nd.node_name(tensor) == name}
        count = nd.attribute(self.graph.nodes[name], "num_split") or 1
        found |= {f"{name}:{index}" for index in range(count) if self.graph.consumers(f"{name}:{index}")}
        return sorted(found, key=lambda tensor: nd.split_tensor(tensor)[1])

    def _readers(self, tensor: str) -> list[tuple[NodeDef, int]]:
        return [(node, index) for node, index in self.graph.consumers(tensor) if node.op not in ONLY_THE_SHAPE]

    def _reads(self, reader: NodeDef, index: int) -> bool:
        """Whether a node takes integers at an input."""
        layer = self.layers.get(reader.name)
        return index in layer.data_inputs if layer is not None else reader.name in self.nodes

    def _demanded(self, tensor: str) -> NodeInput | None:
        """The first place that reads a tensor, directly or through operations that move values."""
        waiting, seen = [tensor], {tensor}
        for current in waiting:
            if current in self.demands:
                return self.demands[current]
            for reader, index in self._readers(current):
                if reader.name in self.nodes and self._reads(reader, index) and self._hands_on(reader, current):
                    waiting += [made for made in self._tensors(reader.name) if made not in seen]
                    seen.update(waiting)
        return None

    def _hands_on(self, reader: NodeDef, tensor: str) -> bool:
        """Whether a tensor may have the factors with which a reader's result is read.

        An activation needs no codes below zero, so its input does not either where nobody else reads it.
        """
        alone = len(self._readers(tensor)) == 1 and tensor not in self.graph.outputs
        return moves(reader) or (reader.op in ACTIVATIONS and alone)

    def _keeps_factors(self, node: NodeDef) -> bool:
        local = node.op == "AvgPool" and not is_global_pool(self.graph, node)
        return local or moves(node) or node.op in ACTIVATIONS

    def _source(self, tensor: str, known: Mapping[str, Source]) -> Source:
        node = self.graph.producer(tensor)
        if node.op in FIXED:
            return FIXED[node.op]
        place = self._demanded(tensor)
        if place is not None:
            return place
        if node.name in self.nodes and self._keeps_factors(node):
            if (node.name, 0) in self.places:
                return node.name, 0
            moved = self._activations(node)[0]
            return Own.OBSERVED if node.op == "ConcatV2" or moved not in known else SameAs(moved)
        return Own.OBSERVED

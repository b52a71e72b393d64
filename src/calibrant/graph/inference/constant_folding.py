"""What depends on constants alone, evaluated by TensorFlow: any stateless operation, all in one run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.constant_bytes import ConstantBytes
from calibrant.graph.graph import Graph, ordered
from calibrant.graph.running.session import open_session
from calibrant.graph.tensorflow import tensorflow
from calibrant.graph.tf_core import NodeDef, op_def_registry

SMALL_BYTES = 1 << 20  # that any result may have
GROWTH = 4  # times the size of its constants, which a larger result may have: int8 becomes float32

NEVER = frozenset(
    {
        "Enter",
        "Exit",
        "LoopCond",
        "Merge",
        "NextIteration",
        "Placeholder",
        "PlaceholderV2",
        "PlaceholderWithDefault",
        "PyFuncStateless",
        "StatelessRandomUniform",
        "StatelessRandomUniformV2",
        "Switch",
    }
)
_NUMBERS = frozenset("biufcV")  # kinds of NumPy dtypes; V: bfloat16 and the 8-bit floats


def fold_constants(graph: Graph) -> Graph:
    """The graph with constants in the place of what depends on constants alone.

    A constant has the name of the node whose value it holds; one for a node with several outputs ends in the number of
    the output. Nodes that pass a constant on, such as Identity, stay, so that a shared constant remains shared.
    FakeQuant operations stay too, because they say how the network was trained.

    A result of more than :data:`SMALL_BYTES` is left to be computed where it would take more than :data:`GROWTH` times
    the bytes of the constants that it is computed from.
    """
    foldable = _Foldable(graph, GROWTH)
    read = (tensor for node in graph.nodes.values() if node.name not in foldable for tensor in nd.data_inputs(node))
    wanted = dict.fromkeys(foldable.source_of_identity(tensor) for tensor in (*read, *graph.outputs))
    computed = [tensor for tensor in wanted if tensor is not None and not _is_output_by_number(graph, tensor)]
    values = _evaluate(graph, computed)
    if not values:
        return graph
    edit = graph.edit()
    for tensor, value in values.items():
        if not foldable.may_hold(nd.node_name(tensor), value.nbytes):
            continue
        name, index = nd.split_tensor(tensor)
        if index == 0 and graph.read_outputs(name) in ((), (0,)):
            edit.put(nd.constant_node(name, value))
            continue
        constant = edit.add_constant(f"{name}_{index}", value)
        for node, position in graph.consumers(tensor):
            edit.set_input(node.name, position, constant)
    return edit.finish()


def constant_nodes(graph: Graph) -> frozenset[str]:
    """The nodes that depend on constants alone, whatever their size."""
    foldable = _Foldable(graph, math.inf)
    return frozenset(name for name in graph.nodes if name in foldable)


def constant_values(graph: Graph, tensors: Iterable[str]) -> dict[str, np.ndarray]:
    """The values of those of the tensors that depend on constants alone, whatever their size."""
    foldable = constant_nodes(graph)
    return _evaluate(graph, [nd.tensor_name(name) for name in tensors if nd.node_name(name) in foldable])


def _is_output_by_number(graph: Graph, tensor: str) -> bool:
    """Whether the graph gives a tensor away under a name that a constant cannot have."""
    return tensor in graph.outputs and nd.split_tensor(tensor)[1] != 0


class _Foldable:
    """The nodes that depend on constants alone, and are in proportion to them."""

    def __init__(self, graph: Graph, growth: float):
        self._graph = graph
        self._growth = growth
        self._constants = ConstantBytes()
        for node in graph.nodes.values():
            if node.op == "Const" and not node.input:
                self._constants.add(node)
            elif is_pure(node) and all(nd.node_name(reference) in self._constants for reference in node.input):
                self._constants.add(node)
                if not all(self.may_hold(node.name, size) for size in self._sizes(node)):
                    self._constants.remove(node.name)

    def __contains__(self, name: str) -> bool:
        return name in self._constants

    def may_hold(self, name: str, size: int) -> bool:
        """Whether so many bytes are in proportion to the constants that a node is computed from."""
        return size <= SMALL_BYTES or self._constants.reach(name, size / self._growth)

    def source_of_identity(self, tensor: str) -> str | None:
        """The computed tensor that a constant one passes on; None where it is a Const, or not constant."""
        name = nd.node_name(tensor)
        while name in self and self._graph.nodes[name].op in nd.PASS_THROUGH:
            tensor = nd.data_inputs(self._graph.nodes[name])[0]
            name = nd.node_name(tensor)
        return nd.tensor_name(tensor) if name in self and self._graph.nodes[name].op != "Const" else None

    def _sizes(self, node: NodeDef) -> Iterator[int]:
        """The bytes of a node's outputs, as far as TensorFlow can tell."""
        if self._growth == math.inf or node.op in nd.PASS_THROUGH:
            return
        index = 0
        while (tensor := f"{node.name}:{index}") in self._graph.tensors:
            shape, dtype = self._graph.tensors[tensor]
            sizes = nd.static_shape(shape)
            if sizes is not None:
                yield math.prod(sizes) * dtype.size
            index += 1


def is_pure(node: NodeDef) -> bool:
    """Whether a node is a function of what it reads, and nothing else would be lost with it."""
    operation = op_def_registry.get(node.op)
    return (
        operation is not None
        and not operation.is_stateful
        and bool(node.input)
        and not nd.control_inputs(node)
        and node.op not in NEVER
        and not node.op.startswith("FakeQuant")
        and not any(value.WhichOneof("value") == "func" for value in node.attr.values())
    )


def _evaluate(graph: Graph, tensors: Sequence[str]) -> dict[str, np.ndarray]:
    """Tensor → value, without those that TensorFlow cannot compute, or that are no numbers."""
    if not tensors:
        return {}
    tf = tensorflow()
    config = tf.compat.v1.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    needed = Graph(ordered(graph.nodes, tensors), (), tuple(tensors), versions=graph.versions, library=graph.library)
    with open_session(needed, config) as session:
        try:
            values = dict(zip(tensors, session.run(list(tensors)), strict=True))
        except tf.errors.OpError:
            values = {}
            for tensor in tensors:
                try:
                    values[tensor] = session.run(tensor)
                except tf.errors.OpError:
                    continue
    return {tensor: np.asarray(value) for tensor, value in values.items() if np.asarray(value).dtype.kind in _NUMBERS}

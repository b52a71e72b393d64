"""The table of quantizable layer kinds, and the layers of a graph. A new kind is a row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.python.framework import dtypes

from calibrant.graph import nodes as nd
from calibrant.graph.control_flow import called_functions
from calibrant.graph.graph import Graph


@dataclass(frozen=True)
class LayerKind:
    """How one op type is quantized.

    Parameters
    ----------
    data_inputs : input indices that carry activations.
    weight_input : input index of the weights; None for kinds without.
    channel_axes : axes of the weights that count output channels; empty where weights are per tensor only.
    reduced_axis : axis of the weights that counts input channels, for balancing.
    refuse : the reason why this very node cannot be quantized, or None.
    """

    data_inputs: tuple[int, ...]
    weight_input: int | None
    channel_axes: tuple[int, ...]
    reduced_axis: int | None
    refuse: Callable[[Graph, NodeDef], str | None]


@dataclass(frozen=True)
class Layer:
    """One quantizable layer of a graph.

    Parameters
    ----------
    data_inputs, weight_input, channel_axes, reduced_axis : as in LayerKind; a BatchMatMul of two activations has two
        data inputs.
    constant : name of the Const node with the weights (shared weights: the same name); None for layers without
        constant weights.
    weights_shape : its shape.
    bias : name of the BiasAdd node that is the only reader of the layer, or None.
    """

    name: str
    type: str
    data_inputs: tuple[int, ...]
    weight_input: int | None
    channel_axes: tuple[int, ...]
    reduced_axis: int | None
    constant: str | None
    weights_shape: tuple[int, ...]
    bias: str | None

    @property
    def is_dynamic(self) -> bool:
        """Whether both operands are activations."""
        return len(self.data_inputs) == 2


@dataclass(frozen=True)
class Rejected:
    """A node that could be meant as a layer but is not quantizable, with the reason."""

    name: str
    type: str
    reason: str


def _no_condition(graph: Graph, node: NodeDef) -> str | None:
    return None


def _undilated(graph: Graph, node: NodeDef) -> str | None:
    dilations = nd.attribute(node, "dilations") or [1]
    return None if all(d == 1 for d in dilations) else f"dilation {list(dilations)}, only 1 is supported"


def _undilated_in_depth(graph: Graph, node: NodeDef) -> str | None:
    dilations = nd.attribute(node, "dilations") or [1] * 5
    depth_axis = 2 if nd.attribute(node, "data_format") == "NCDHW" else 1
    return None if dilations[depth_axis] == 1 else f"dilation {dilations[depth_axis]} in depth, only 1 is supported"


def _untransposed(graph: Graph, node: NodeDef) -> str | None:
    for key in ("transpose_a", "transpose_b", "adj_x", "adj_y", "grad_a", "grad_b"):
        if nd.attribute(node, key):
            return f"{key} is true"
    return None


def _known_window(graph: Graph, node: NodeDef) -> str | None:
    window = nd.attribute(node, "ksize") or []
    if len(window) != 4 or any(size <= 0 for size in window):
        return f"pooling window {list(window)} is not of a known size"
    return None


_MATMUL = LayerKind((0,), 1, (), 0, _untransposed)

KINDS: dict[str, LayerKind] = {
    "Conv2D": LayerKind((0,), 1, (3,), 2, _no_condition),
    "DepthwiseConv2dNative": LayerKind((0,), 1, (2, 3), 2, _no_condition),
    "Conv2DBackpropInput": LayerKind((2,), 1, (2,), 3, _undilated),
    "Conv3D": LayerKind((0,), 1, (4,), 3, _undilated_in_depth),
    "MatMul": _MATMUL,
    "BatchMatMul": _MATMUL,
    "BatchMatMulV2": _MATMUL,
    "BatchMatMulV3": _MATMUL,
    "AvgPool": LayerKind((0,), None, (), None, _known_window),
}
BATCHED = frozenset({"BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"})
ADDITIONS = frozenset({"Add", "AddV2"})
TENSOR_QUANTIZABLE = ADDITIONS | {"MaxPool"}


def find_layers(graph: Graph) -> tuple[tuple[Layer, ...], tuple[Rejected, ...]]:
    """The quantizable layers of a graph in topological order, and the nodes that come near, with reasons."""
    layers: list[Layer] = []
    rejected: list[Rejected] = []
    for node in graph.nodes.values():
        if node.op in KINDS:
            region = graph.regions.get(node.name)
            found = _layer(graph, node) if region is None else f"is inside {region}, where it cannot be observed"
            if isinstance(found, str):
                rejected.append(Rejected(node.name, node.op, found))
            else:
                layers.append(found)
    rejected.extend(_inside_functions(graph))
    return tuple(layers), tuple(rejected)


def _layer(graph: Graph, node: NodeDef) -> Layer | str:
    kind = KINDS[node.op]
    dtype = nd.attribute(node, "T") or dtypes.float32
    if dtype not in (dtypes.float32, dtypes.float16):
        return f"computes in {dtype.name}, only float32 and float16 are supported"
    reason = kind.refuse(graph, node)
    if reason:
        return reason
    inputs = nd.data_inputs(node)
    if any(graph.constant(inputs[index]) is not None for index in kind.data_inputs):
        return "its data input is a constant"
    data_inputs, channel_axes, reduced_axis = kind.data_inputs, kind.channel_axes, kind.reduced_axis
    weight_input, source, shape = kind.weight_input, None, ()
    if weight_input is not None:
        weights = graph.constant(inputs[weight_input])
        if weights is None and node.op in BATCHED:
            data_inputs, weight_input, reduced_axis = (0, 1), None, None
        elif weights is None:
            return "its weights are not constant"
        elif node.op in BATCHED and weights.ndim != 2:
            return f"its constant second input has rank {weights.ndim}, only 2 is supported"
        elif weights.size == 0:
            return "its weights are empty"
        else:
            source = graph.constant_source(inputs[weight_input]) or nd.node_name(inputs[weight_input])
            shape = tuple(weights.shape)
    if weight_input is None and dtype == dtypes.float16:
        return "computes in float16, where only layers with weights are quantized"
    return Layer(
        node.name, node.op, data_inputs, weight_input, channel_axes, reduced_axis, source, shape, _bias(graph, node)
    )


def _bias(graph: Graph, node: NodeDef) -> str | None:
    reader = graph.only_consumer(node.name)
    if reader is None or reader[0].op != "BiasAdd" or reader[1] != 0:
        return None
    return reader[0].name if graph.constant(nd.data_inputs(reader[0])[1]) is not None else None


def _inside_functions(graph: Graph) -> list[Rejected]:
    called, _ = called_functions(graph.nodes.values(), graph.library)
    return [
        Rejected(f"{name}/{node.name}", node.op, "stays inside a function, where it cannot be reached")
        for name, function in called.items()
        for node in function.node_def
        if node.op in KINDS
    ]

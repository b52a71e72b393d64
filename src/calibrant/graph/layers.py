"""The table of quantizable layer kinds, and the layers of a graph. A new kind is a row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.python.framework import dtypes

from calibrant.graph import nodes as nd
from calibrant.graph.canonical import canonicalize
from calibrant.graph.control_flow import nodes_in_functions
from calibrant.graph.graph import Graph
from calibrant.graph.other_products import is_other_product, other_product


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
    return _first_true(node, "transpose_a", "transpose_b", "grad_a", "grad_b")


def _untransposed_data(graph: Graph, node: NodeDef) -> str | None:
    return _first_true(node, "adj_x", "grad_x", "grad_y")


def _first_true(node: NodeDef, *keys: str) -> str | None:
    return next((f"{key} is true" for key in keys if nd.attribute(node, key)), None)


def _known_window(graph: Graph, node: NodeDef) -> str | None:
    window = nd.attribute(node, "ksize") or []
    if len(window) != 4 or any(size <= 0 for size in window):
        return f"pooling window {list(window)} is not of a known size"
    return None


_BATCHED = LayerKind((0,), 1, (), 0, _untransposed_data)

KINDS: dict[str, LayerKind] = {
    "Conv2D": LayerKind((0,), 1, (3,), 2, _no_condition),
    "DepthwiseConv2dNative": LayerKind((0,), 1, (2, 3), 2, _no_condition),
    "Conv2DBackpropInput": LayerKind((2,), 1, (2,), 3, _undilated),
    "Conv3D": LayerKind((0,), 1, (4,), 3, _undilated_in_depth),
    "MatMul": LayerKind((0,), 1, (), 0, _untransposed),
    "BatchMatMul": _BATCHED,
    "BatchMatMulV2": _BATCHED,
    "BatchMatMulV3": _BATCHED,
    "AvgPool": LayerKind((0,), None, (), None, _known_window),
}
BATCHED = frozenset({"BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"})
ADDITIONS = frozenset({"Add", "AddV2"})
TENSOR_QUANTIZABLE = ADDITIONS | {"MaxPool"}


def find_layers(graph: Graph) -> tuple[tuple[Layer, ...], tuple[Rejected, ...]]:
    """The quantizable layers of a graph in topological order, and all other products, with the reasons.

    They are those of the graph with canonical products; see :mod:`calibrant.graph.canonical`.
    """
    graph = canonicalize(graph).graph
    layers: list[Layer] = []
    rejected: list[Rejected] = []
    for node in graph.nodes.values():
        region = graph.regions.get(node.name)
        if node.op not in KINDS:
            reason = other_product(graph, node)
            if reason is not None:
                rejected.append(Rejected(node.name, node.op, reason))
            continue
        found = _layer(graph, node) if region is None else f"is inside {region}, where it cannot be observed"
        if isinstance(found, str):
            rejected.append(Rejected(node.name, node.op, found))
        else:
            layers.append(found)
    rejected.extend(_inside_functions(graph))
    return tuple(layers), tuple(rejected)


def _layer(graph: Graph, node: NodeDef) -> Layer | str:
    kind = KINDS[node.op]
    dtype = nd.attribute(node, "T") or nd.attribute(node, "Tout") or dtypes.float32
    if dtype not in (dtypes.float32, dtypes.float16):
        return f"computes in {dtype.name}, only float32 and float16 are supported"
    reason = kind.refuse(graph, node)
    if reason:
        return reason
    if node.op in BATCHED and not _multiplies_weights(graph, node):
        return _dynamic_layer(graph, node)
    inputs = nd.data_inputs(node)
    if any(graph.constant(inputs[index]) is not None for index in kind.data_inputs):
        return "its data input is a constant"
    source, shape = None, ()
    if kind.weight_input is None:
        if graph.computes_in_half:
            return f"{_in_half(dtype)}, where only layers with weights are quantized"
    else:
        weights = graph.constant(inputs[kind.weight_input])
        if weights is None:
            return _not_constant(graph, inputs[kind.weight_input])
        if weights.size == 0:
            return "its weights are empty"
        source = graph.constant_source(inputs[kind.weight_input]) or nd.node_name(inputs[kind.weight_input])
        shape = tuple(weights.shape)
    return Layer(
        node.name,
        node.op,
        kind.data_inputs,
        kind.weight_input,
        kind.channel_axes,
        kind.reduced_axis,
        source,
        shape,
        _bias(graph, node),
    )


def _multiplies_weights(graph: Graph, node: NodeDef) -> bool:
    """Whether a BatchMatMul multiplies an activation with a matrix that is the same for the whole batch."""
    first, second = (graph.constant(tensor) for tensor in nd.data_inputs(node))
    return first is None and second is not None and second.ndim == 2 and not nd.attribute(node, "adj_y")


def _dynamic_layer(graph: Graph, node: NodeDef) -> Layer | str:
    """A product both of whose operands are quantized like activations; one of them may be a constant."""
    constants = [graph.constant(tensor) for tensor in nd.data_inputs(node)]
    if all(value is not None for value in constants):
        return "both of its inputs are constant"
    if any(value is not None and value.size == 0 for value in constants):
        return "its weights are empty"
    if graph.computes_in_half:
        half = _in_half(nd.attribute(node, "T") or nd.attribute(node, "Tout") or dtypes.float32)
        return f"{half}, where products of two activations are not quantized"
    return Layer(node.name, node.op, (0, 1), None, (), None, None, (), _bias(graph, node))


def _in_half(dtype: dtypes.DType) -> str:
    return "computes in float16" if dtype == dtypes.float16 else "is part of a graph that computes in float16 as well"


def _not_constant(graph: Graph, tensor: str) -> str:
    """Why there are no weights to quantize."""
    node = graph.producer(tensor)
    while node.op in nd.PASS_THROUGH:
        node = graph.producer(nd.data_inputs(node)[0])
    if node.op.startswith("FakeQuant") and graph.constant(nd.data_inputs(node)[0]) is not None:
        return (
            f"its weights pass {node.name!r} ({node.op}): the model was trained for quantization (QAT), and "
            "calibrant convert takes the ranges that it has"
        )
    return "its weights are not constant"


def _bias(graph: Graph, node: NodeDef) -> str | None:
    reader = graph.only_consumer(node.name)
    if reader is None or reader[0].op != "BiasAdd" or reader[1] != 0:
        return None
    return reader[0].name if graph.constant(nd.data_inputs(reader[0])[1]) is not None else None


def _inside_functions(graph: Graph) -> list[Rejected]:
    """The products in the bodies of loops and branches, under the name of the node that calls them."""
    return [
        Rejected(f"{caller.name}/{node.name}", node.op, f"is inside {place}, where it cannot be observed")
        for caller, place, node in nodes_in_functions(graph.nodes.values(), graph.library)
        if node.op in KINDS or is_other_product(node)
    ]

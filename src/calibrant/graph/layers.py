"""The quantizable layers of a graph, and everything else that multiplies with constants, with the reason."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import partial

from calibrant.graph import nodes as nd
from calibrant.graph.canonical import canonicalize
from calibrant.graph.channel_order import adds_along_channels
from calibrant.graph.functions.control_flow import nodes_in_functions
from calibrant.graph.functions.enclosed_tables import lookups_in_functions
from calibrant.graph.graph import Graph
from calibrant.graph.node_input import NodeInput
from calibrant.graph.other_products import LOOKUP, is_other_product, other_product
from calibrant.graph.tf_core import NodeDef, dtypes
from calibrant.layer_kinds import KINDS


@dataclass(frozen=True)
class Layer:
    """One quantizable layer of a graph.

    Parameters
    ----------
    name, type : str
        Name of the node, and its operator.
    data_inputs : tuple[int, ...]
        As in LayerKind; a BatchMatMul of two activations has two data inputs.
    weight_input : int | None
        As in LayerKind; None for a layer without constant weights.
    channel_axes : tuple[int, ...]
        As in LayerKind.
    reduced_axis : int | None
        As in LayerKind.
    constant : str | None
        Name of the Const node with the weights (shared weights: the same name); None for layers without constant
        weights.
    weights_shape : tuple[int, ...]
        Shape of the weights; () without weights.
    bias : str | None
        Name of the BiasAdd node that is the only reader of the layer, or None.
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
    def weights_place(self) -> NodeInput:
        """The input that reads the weights.

        Raises
        ------
        ValueError
            The layer has no weights.
        """
        if self.weight_input is None:
            raise ValueError(f"{self.name!r} has no weights")
        return self.name, self.weight_input

    @property
    def weights_constant(self) -> str:
        """Name of the Const node with the weights.

        Raises
        ------
        ValueError
            The layer has no constant weights.
        """
        if self.constant is None:
            raise ValueError(f"{self.name!r} has no constant weights")
        return self.constant

    @property
    def end(self) -> str:
        """Name of the node that gives its result: its BiasAdd, where it has one."""
        return self.bias or self.name

    @property
    def output_axes(self) -> tuple[int, ...]:
        """The axes of the weights that number the output channels, whether or not each has its own scale."""
        return self.channel_axes or (len(self.weights_shape) - 1,)

    @property
    def bias_add(self) -> str:
        """Name of the layer's BiasAdd.

        Raises
        ------
        ValueError
            The layer has no bias.
        """
        if self.bias is None:
            raise ValueError(f"{self.name!r} has no bias")
        return self.bias

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
        candidate = _layer(graph, node) if region is None else f"is inside {region}, where it cannot be observed"
        if isinstance(candidate, str):
            rejected.append(Rejected(node.name, node.op, candidate))
        else:
            layers.append(candidate)
    rejected.extend(_inside_functions(graph))
    return tuple(layers), tuple(rejected)


def _layer(graph: Graph, node: NodeDef) -> Layer | str:
    kind = KINDS[node.op]
    dtype = nd.attribute(node, "T") or nd.attribute(node, "Tout") or dtypes.float32
    if dtype not in (dtypes.float32, dtypes.float16):
        if any(graph.dtype(tensor) == dtypes.int8 for tensor in nd.data_inputs(node)):
            return "multiplies int8 numbers: it is quantized already; give the model as it was before, in float"
        return f"computes in {dtype.name}, only float32 and float16 are supported"
    reason = kind.condition(partial(nd.attribute, node))
    if reason:
        return reason
    if kind.multiplies_activations and not _multiplies_weights(graph, node):
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
        if kind.transposed and _made_channels(graph, node) not in (None, weights.shape[kind.channel_axes[0]]):
            return "is a transposed convolution with groups, which is not supported"
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
        constant_bias(graph, node),
    )


def _made_channels(graph: Graph, node: NodeDef) -> int | None:
    """How many channels a convolution makes, as far as its shape says."""
    shape = graph.shape(f"{node.name}:0")
    return shape[1 if nd.attribute(node, "data_format") == "NCHW" else -1] if shape else None


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
    return Layer(node.name, node.op, (0, 1), None, (), None, None, (), constant_bias(graph, node))


def _in_half(dtype: dtypes.DType) -> str:
    return "computes in float16" if dtype == dtypes.float16 else "is part of a graph that computes in float16 as well"


def _not_constant(graph: Graph, tensor: str) -> str:
    """Why there are no weights to quantize."""
    node = graph.producer(tensor)
    while node.op in nd.PASS_THROUGH:
        node = graph.producer(nd.data_inputs(node)[0])
    if node.op.startswith("FakeQuant") and graph.constant(nd.data_inputs(node)[0]) is not None:
        bits = nd.attribute(node, "num_bits", 8)
        if bits != 8:
            return (
                f"its weights pass {node.name!r} ({node.op} of {bits} bits): the model was trained for quantization "
                "(QAT) to a width that no file has; train it with num_bits=8 and use calibrant convert, or give it "
                "without its FakeQuant nodes"
            )
        return (
            f"its weights pass {node.name!r} ({node.op}): the model was trained for quantization (QAT), and "
            f"calibrant convert --model {shlex.quote(graph.source)} --outputs {shlex.quote(','.join(graph.outputs))} "
            "--save_path DIR/NAME takes the ranges that it has"
        )
    return "its weights are not constant"


def constant_bias(graph: Graph, layer: NodeDef) -> str | None:
    """Name of the BiasAdd that adds a constant along the channels of a layer, and alone reads it; None without one."""
    reader = graph.only_consumer(layer.name)
    if reader is None or reader[0].op != "BiasAdd" or reader[1] != 0 or not adds_along_channels(layer, reader[0]):
        return None
    return reader[0].name if graph.constant(nd.data_inputs(reader[0])[1]) is not None else None


def _inside_functions(graph: Graph) -> list[Rejected]:
    """The products in the bodies of loops and branches, and the tables, under the name of the node that calls them."""
    lookups = lookups_in_functions(graph)
    return [
        Rejected(
            each.name,
            each.node.op,
            LOOKUP if each.name in lookups else f"is inside {each.place}, where it cannot be observed",
        )
        for each in nodes_in_functions(graph.nodes.values(), graph.library)
        if each.node.op in KINDS or is_other_product(each.node) or each.name in lookups
    ]

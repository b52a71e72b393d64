"""What LiteRT cannot hold, said before the converter runs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from tensorflow.core.framework.node_def_pb2 import NodeDef

from calibrant.emit.tflite.flatbuffer import File
from calibrant.emit.tflite.integer_part import IntegerPart
from calibrant.emit.tflite.pooling import is_global_pool
from calibrant.errors import ModelError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.quantized_network import QuantizedLayer, QuantizedNetwork

WITHOUT_KERNEL = {"Conv3D": "LiteRT computes Conv3D in float only"}
CHANNELS_FIRST = {
    "DepthwiseConv2dNative": "does not turn it to channels last",
    "AvgPool": "would round its input to the factors of its result",
}
LOWEST_WEIGHT = -127


def refuse(network: QuantizedNetwork, part: IntegerPart) -> None:
    """Say at once which layers cannot be held.

    Raises
    ------
    ModelError : layers without an int8 kernel or of another type than float32, operations with channels first where
        the converter cannot have that, weights of -128; one problem each.
    """
    problems = [problem for layer in network.layers for problem in _problems(layer, network.graph)]
    problems += [
        Problem(
            f"{node.op} with channels first (NCHW): TensorFlow's converter {CHANNELS_FIRST[node.op]}",
            file=network.graph.source,
            path=node.name,
            hint="convert the model to NHWC, or export another format",
        )
        for node in network.graph.nodes.values()
        if node.name in part.nodes and node.op in CHANNELS_FIRST and _is_channels_first(network.graph, node)
    ]
    if problems:
        raise ModelError(*problems)


def refuse_float_ends(file: File, graph: Graph) -> None:
    """Say which inputs and outputs cannot be int8, where all were to be.

    Raises
    ------
    ModelError : inputs or outputs that are float in the file; integers of other types are as the model has them.
    """
    ends = (("input", file.inputs(), graph.inputs), ("output", file.outputs(), graph.outputs))
    problems = [
        Problem(
            f"the {role} {nd.input_reference(name)} is float, as no layer gives it factors",
            file=graph.source,
            hint="leave inputs and outputs in float with --tflite-io float32",
        )
        for role, tensors, names in ends
        for tensor, name in zip(tensors, names, strict=True)
        if tensor.dtype == np.float32
    ]
    if problems:
        raise ModelError(*problems)


def _is_channels_first(graph: Graph, node: NodeDef) -> bool:
    """Whether it has a data format of that kind; a pooling over whole images is a mean, which has none."""
    is_mean = node.op == "AvgPool" and is_global_pool(graph, node)
    return nd.attribute(node, "data_format") == "NCHW" and not is_mean


def _problems(layer: QuantizedLayer, graph: Graph) -> Iterator[Problem]:
    name, kind, source = layer.layer.name, layer.layer.type, graph.source
    dtype = graph.dtype(f"{name}:0").name
    if dtype != "float32":
        hint = "convert the model to float32, or export another format"
        yield Problem(
            f"computes in {dtype}, and LiteRT's int8 layers are of float32", file=source, path=name, hint=hint
        )
    if kind in WITHOUT_KERNEL:
        hint = "leave it in float with skip_layers or skip_layer_types, or export another format"
        yield Problem(WITHOUT_KERNEL[kind], file=source, path=name, hint=hint)
    if layer.weights is not None and layer.weights.values.min() < LOWEST_WEIGHT:
        yield Problem(
            "has weights of -128, which LiteRT leaves out",
            file=source,
            path=name,
            allowed="-127 ... 127",
            hint="quantize with export='tflite', which keeps to this range from the start",
        )

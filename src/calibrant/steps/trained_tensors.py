"""Step: FakeQuant nodes on activations become quantizers of tensors, where no quantized layer does the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.graph import nodes as nd
from calibrant.graph.fake_quant import FakeQuant
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.node_input import NodeInput
from calibrant.graph.tf_core import NodeDef
from calibrant.quantized_network import QuantizedInput, QuantizedNetwork
from calibrant.steps.recorded import known_input

KEEPS_VALUES = nd.PASS_THROUGH | {
    "BatchToSpaceND",
    "ExpandDims",
    "MaxPool",
    "MirrorPad",
    "Pad",
    "Relu",
    "Reshape",
    "Slice",
    "SpaceToBatchND",
    "Squeeze",
    "StridedSlice",
    "Transpose",
}
"""Operations that output only values of their input, and zeros: the output is on the grid of the same quantizer."""


def with_trained_tensors(network: QuantizedNetwork, fakes: Mapping[str, FakeQuant]) -> QuantizedNetwork:
    """The network with an Identity in the place of each FakeQuant node, and quantizers for what its readers get.

    A layer that quantizes with the same scale and offset does by itself what the node did, also behind operations that
    keep values. For all other readers, and for outputs, the Identity's input is quantized. A narrow range is a Maximum,
    because a quantizer uses its lowest code, too.

    Parameters
    ----------
    network : QuantizedNetwork
        Its graph still has the nodes.
    fakes : Mapping[str, FakeQuant]
        The nodes to replace, in graph order; each :attr:`FakeQuant.quantizer` is one.
    """
    graph = network.graph
    edit = graph.edit()
    quantizers = {name: fake.quantizer for name, fake in fakes.items() if fake.quantizer and name in graph.nodes}
    does_it = {entry.place: entry.quantizer for entry in network.every_input()}
    does_it |= {(name, 0): quantizer for name, quantizer in quantizers.items()}
    tensors = []
    for name, quantizer in quantizers.items():
        readers = graph.consumers(f"{name}:0")
        repeating = [(node, index) for node, index in readers if _repeats(graph, node, index, quantizer, does_it)]
        source = _clipped(edit, fakes[name], quantizer)
        controls = [f"^{control}" for control in nd.control_inputs(graph.nodes[name])]
        edit.put(nd.make_node("Identity", name, [source, *controls], T=graph.dtype(f"{name}:0")))
        if len(repeating) < len(readers) or f"{name}:0" in graph.outputs:
            tensors.append(known_input((name, 0), source, quantizer))
            for node, index in repeating:
                edit.set_input(node.name, index, source)
    layers = tuple(
        replace(layer, inputs=tuple(_as_read(edit, entry) for entry in layer.inputs)) for layer in network.layers
    )
    return replace(network, graph=edit.finish(), layers=layers, tensors=(*network.tensors, *tensors))


def _repeats(
    graph: Graph, node: NodeDef, index: int, quantizer: Quantizer, does_it: Mapping[NodeInput, Quantizer]
) -> bool:
    """Whether what a node makes of its input is the same if the input is not quantized."""
    waiting, seen = [(node, index)], set[NodeInput]()
    while waiting:
        node, index = waiting.pop()
        if (node.name, index) in seen:
            continue
        seen.add((node.name, index))
        if (node.name, index) in does_it:
            if does_it[node.name, index] != quantizer:
                return False
        elif node.op not in KEEPS_VALUES or index > 0 or f"{node.name}:0" in graph.outputs:
            return False
        else:
            waiting += graph.consumers(f"{node.name}:0")
    return True


def _clipped(edit: Edit, fake: FakeQuant, quantizer: Quantizer) -> str:
    """What a node reads, with a narrow range not below the lowest code but one."""
    source = nd.data_inputs(edit.nodes[fake.name])[0]
    if not fake.lowest:
        return source
    least = edit.add_constant(f"{fake.name}/least", quantizer.dequantize(np.array(quantizer.lowest + fake.lowest)))
    return edit.add("Maximum", f"{fake.name}/clipped", [source, least], T=edit.graph.dtype(source))


def _as_read(edit: Edit, entry: QuantizedInput) -> QuantizedInput:
    return replace(entry, tensor=nd.data_inputs(edit.nodes[entry.node])[entry.index])

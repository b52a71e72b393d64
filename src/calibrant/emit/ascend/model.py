"""From a quantized network to the graph of the deployable model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from calibrant.emit.ascend.activations import put_quantizers
from calibrant.emit.ascend.layers import put_bias, put_dequant, put_weights
from calibrant.emit.ascend.relu6 import replace_relu6
from calibrant.emit.ascend.scale_limits import refuse_scales
from calibrant.emit.output_names import with_output_names
from calibrant.emit.two_terms import with_two_terms
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.quantized_network import QuantizedNetwork

ACCUMULATOR = "accumulator"


@dataclass(frozen=True, eq=False)
class AscendModel:
    """The deployable model.

    Parameters
    ----------
    graph : Graph
        Its nodes, four kinds of which TensorFlow does not know.
    dequantized : Mapping[str, str]
        Name of each AscendDequant → the layer whose accumulator it turns into float; or of the sum of two of them → the
        layer with an activation of 16 bits.
    """

    graph: Graph
    dequantized: Mapping[str, str]


def ascend_model(network: QuantizedNetwork) -> AscendModel:
    """The deployable model: int8 weights, int32 biases, and the four operators between them and float.

    Scales and offsets are those of the record file, also where the fake-quantized model uses scales rounded to float16.
    Outputs keep the names and types of the model that was read; where an output is a layer or its bias, that node is
    called ``NAME/accumulator`` instead and an Identity after AscendDequant has the name. TensorFlow does not know the
    operators; :func:`calibrant.graph.ascend.lower.lower` turns the graph into stock operations.

    Parameters
    ----------
    network : QuantizedNetwork
        Folded float graph, and scales and offsets of its layers.
    """
    terms = with_two_terms(network)
    network = terms.network
    refuse_scales(network)
    edit = network.graph.edit()
    replace_relu6(edit, network)
    put_quantizers(edit, network)
    shared: dict[str, str] = {}
    dequantized: dict[str, str] = {}
    layers: dict[str, str] = {}
    for layer in network.layers:
        if layer.weights is not None:
            put_weights(edit, layer, shared)
        if layer.bias is not None:
            put_bias(edit, layer)
        steps, floats = put_dequant(edit, layer)
        dequantized[steps] = floats
        layers[nd.node_name(floats)] = layer.layer.name
    _read_instead(edit, dequantized)
    outputs = tuple(
        edit.add("Identity", f"{nd.node_name(tensor)}/output", [dequantized[tensor]], T=network.graph.dtype(tensor))
        if tensor in dequantized
        else tensor
        for tensor in network.graph.outputs
    )
    finished = edit.finish(outputs=outputs)
    named = with_output_names(finished, network.output_tensors or network.graph.outputs, ACCUMULATOR)
    renamed = {nd.node_name(old): nd.node_name(new) for old, new in zip(finished.outputs, named.outputs, strict=True)}
    layers.update((renamed.get(name, name), layer) for name, layer in terms.sums.items())
    return AscendModel(named, layers)


def _read_instead(edit: Edit, tensors: Mapping[str, str]) -> None:
    """Let every reader of an accumulator read its float tensor, AscendDequant itself aside."""
    for node in list(edit.nodes.values()):
        if node.op == "AscendDequant":
            continue
        for index, tensor in enumerate(nd.data_inputs(node)):
            if tensor in tensors:
                edit.set_input(node.name, index, tensors[tensor])

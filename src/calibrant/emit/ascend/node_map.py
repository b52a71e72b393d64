"""The original nodes that each node of the deployable model replaces (``NAME_quant.json``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from calibrant.emit.ascend.model import ACCUMULATOR, AscendModel
from calibrant.graph.graph import Graph
from calibrant.quantized_network import QuantizedNetwork
from calibrant.records.mapping_file import MappedOp, mapping_json


def ascend_node_map(
    model: AscendModel, network: QuantizedNetwork, original: Graph, absorbed: Mapping[str, Sequence[str]]
) -> str:
    """The map as JSON text, for every node but constants.

    The AscendDequant of a layer is the first node whose values are those of the float network again. It replaces the
    layer, its bias and all nodes that were folded into it, in the order of the data; the last of these names is the
    node to compare it with. Quantizers and casts replace no node. ``absorbed`` holds, by layer, the nodes folded into
    it.
    """
    biases = {layer.layer.name: layer.layer.bias_add for layer in network.layers if layer.bias is not None}
    entries = []
    for node in model.graph.nodes.values():
        if node.op == "Const":
            continue
        layer = model.dequantized.get(node.name)
        if layer is not None:
            names = [layer, *absorbed.get(layer, ())]
            names += [biases[layer]] if layer in biases and biases[layer] not in names else []
        else:
            names = [node.name.removesuffix(f"/{ACCUMULATOR}")]
        entries.append(MappedOp(node.name, node.op, tuple(name for name in names if name in original.nodes)))
    return mapping_json(entries)

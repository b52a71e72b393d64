"""Which original nodes every operator of a LiteRT file stands for (``NAME_int8_quant.json``).

The converter fuses and splits nodes; it leaves the names of those from which a tensor was made. So each operator is
given the node at which it ends, and stands for what lies between there and the ends of other operators, in the graph
that was converted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from calibrant.emit.tflite.converter_graph import converter_graph
from calibrant.emit.tflite.flatbuffer import File, Operator
from calibrant.emit.tflite.model import part_of
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.quantized_network import QuantizedNetwork
from calibrant.records.mapping_file import MappedOp, mapping_json

DIGITS = "0123456789"


def tflite_node_map(
    file: File, network: QuantizedNetwork, original: Graph, absorbed: Mapping[str, Sequence[str]]
) -> str:
    """The map as JSON text: the inputs of the file, then its operators in the order in which they run.

    An entry has the name of the (first) tensor that is made there, which no two operators share, and the operator's
    name in LiteRT. The original nodes are in the order of the data; the tensor has the values of the last one. An
    operator stands for none where it only changes the type, or makes a tensor that the original model does not have.

    Parameters
    ----------
    file : made from the network, by :func:`calibrant.emit.tflite.model.tflite_model`.
    original : the model as it was read.
    absorbed : by layer, the original nodes that folding has put into it.
    """
    graph = converter_graph(network, part_of(network))
    ends = _ends(file, graph, original)
    stops = {end for end in ends.values() if end in original.nodes}
    places = {name: place for place, name in enumerate(original.nodes)}

    def names(operator: Operator) -> tuple[str, ...]:
        end = ends[operator.outputs[0].index]
        read = {ends.get(tensor.index) for tensor in operator.inputs if tensor is not None}
        if end not in original.nodes or end in read:
            return ()
        found = {
            each
            for name in _between(graph, end, stops)
            for each in (name, *absorbed.get(name, ()))
            if each in original.nodes
        }
        return tuple(sorted(found, key=places.__getitem__))

    entries = [MappedOp(tensor.name, "Placeholder", (ends[tensor.index],)) for tensor in file.inputs()]
    entries += [MappedOp(operator.outputs[0].name, operator.name, names(operator)) for operator in file.operators()]
    return mapping_json(entries)


def _ends(file: File, graph: Graph, original: Graph) -> dict[int, str | None]:
    """Tensor → the node whose values it has, roundings and biases that calibrant has added left out."""
    places = {name: place for place, name in enumerate(graph.nodes)}
    ends = {tensor.index: nd.node_name(fed) for tensor, fed in zip(file.inputs(), graph.inputs, strict=True)}
    results = {tensor.index: made for tensor, made in zip(file.outputs(), graph.outputs, strict=True)}
    for operator in file.operators():
        index = operator.outputs[0].index
        read = (ends[tensor.index] for tensor in operator.inputs if tensor is not None and tensor.index in ends)
        if index in results:
            end = nd.node_name(results[index])
        else:
            end = max(_named(operator, graph), key=places.__getitem__, default=None) or next(read, None)
        while end is not None and end not in original.nodes:
            node = graph.nodes[end]
            if node.op not in ("FakeQuantWithMinMaxVars", "BiasAdd"):
                break
            end = nd.node_name(nd.data_inputs(node)[0])
        ends.update((tensor.index, end) for tensor in operator.outputs)
    return ends


def _named(operator: Operator, graph: Graph) -> Iterator[str]:
    """The nodes in the name of an operator's tensor; the converter puts a number behind a name that is taken."""
    for part in operator.outputs[0].name.split(";"):
        name = next((name for name in (part, part.rstrip(DIGITS)) if name in graph.nodes), None)
        if name is not None and graph.constant(f"{name}:0") is None:
            yield name


def _between(graph: Graph, end: str, stops: set[str]) -> Iterator[str]:
    """The nodes that compute ``end`` from the stops, and ``end``; constants left out."""
    waiting, seen = [end], {end}
    for name in waiting:
        yield name
        for tensor in nd.data_inputs(graph.nodes[name]):
            read = nd.node_name(tensor)
            if read not in seen and read not in stops and graph.constant(tensor) is None:
                waiting.append(read)
                seen.add(read)

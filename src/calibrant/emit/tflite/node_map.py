"""Which original nodes every operator of a LiteRT file stands for (``PREFIX_quant.json``).

Tensors of the file are known to be tensors of the graph. So each operator ends at a node, and stands for what lies
between there and the ends of other operators.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from calibrant.emit.tflite.model import LiteFile
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.records.mapping_file import MappedOp, mapping_json


def tflite_node_map(made: LiteFile, folded: Graph, original: Graph, absorbed: Mapping[str, Sequence[str]]) -> str:
    """The map as JSON text: the inputs of the file, then its operators in the order in which they run.

    An entry has the name of the (first) tensor that is made there, which no two operators share, and the operator's
    name in LiteRT. The original nodes are in the order of the data; the tensor has the values of the last one. An
    operator stands for none where it only changes the type, or makes a tensor that the original model does not have.

    Parameters
    ----------
    folded : Graph
        What the file was made of. The graph that the converter was given computes some nodes in others, for instance
        with channels last.
    original : Graph
        The model as it was read.
    absorbed : Mapping[str, Sequence[str]]
        By layer, the original nodes that folding has put into it.
    """
    plain = list(made.float_file.file.operators())
    file = made.file
    operators = list(file.operators())
    ends = {index: nd.node_name(tensor) for index, tensor in made.float_file.tensors.items()}
    stops = {end for end in ends.values() if end in folded.nodes} | set(folded.input_nodes)
    places = {name: place for place, name in enumerate(original.nodes)}

    results = {tensor.index: nd.node_name(name) for tensor, name in zip(file.outputs(), folded.outputs, strict=True)}

    def names(position: int) -> tuple[str, ...]:
        at, result = made.origin.get(position), results.get(operators[position].outputs[0].index)
        end = ends.get(plain[at].outputs[0].index) if at is not None else None
        last = result if result is not None and result not in stops else None
        found = {
            each
            for node in (end, last)
            if node is not None and node in folded.nodes
            for name in _between(folded, node, stops)
            for each in (name, *absorbed.get(name, ()))
            if each in original.nodes
        }
        return tuple(sorted(found, key=places.__getitem__))

    entries = [
        MappedOp(tensor.name, "Placeholder", (nd.node_name(name),))
        for tensor, name in zip(file.inputs(), folded.inputs, strict=True)
    ]
    entries += [MappedOp(each.outputs[0].name, each.name, names(at)) for at, each in enumerate(operators)]
    return mapping_json(entries)


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

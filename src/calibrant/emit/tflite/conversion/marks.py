"""Marks that let tensors of a graph be found again in the LiteRT file that the converter makes of it.

The converter fuses, folds and renames. A mark is an operation that it knows the shape of, has no kernel for and no
rule about: it becomes a custom operator, unchanged and in its place. So what is between two marks in the graph is
between them in the file, and nothing is moved across. Each has a number, as the converter makes one operation of equal
ones: of marks behind equal tensors, too. Afterwards the marks are taken out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from calibrant.emit.tflite.flatbuffer import File
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import dtypes

MARK = "Digamma"
_SCOPE = "calibrant_mark"


def with_marks(graph: Graph, places: Mapping[str, str]) -> tuple[Graph, Mapping[str, Sequence[str]]]:
    """The graph with a mark behind each of these float32 tensors; name of the mark → what its tensor is called.

    Parameters
    ----------
    places : Mapping[str, str]
        What a tensor is called → the tensor of the graph that has its numbers.
    """
    edit = graph.edit()
    outputs = list(graph.outputs)
    names: dict[str, list[str]] = {}
    for called, tensor in places.items():
        names.setdefault(tensor, []).append(called)
    marks: dict[str, Sequence[str]] = {}
    for number, (tensor, called_so) in enumerate(names.items()):
        mark = edit.add(MARK, f"{_SCOPE}{number}_", [tensor], T=dtypes.float32, _number=number)
        marks[nd.node_name(mark)] = called_so
        for reader, index in graph.consumers(tensor):
            edit.set_input(reader.name, index, mark)
        outputs = [mark if output == tensor else output for output in outputs]
    return edit.finish(outputs=tuple(outputs)), marks


def take_out_marks(file: File, graph: Graph, marks: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Remove the marks from a file; tensor of the graph that was marked → index of the tensor that has its values.

    Parameters
    ----------
    graph, marks : Graph, Mapping[str, Sequence[str]]
        Of :func:`with_marks`.
    """
    results = {
        tensor.index: _nearest_mark(graph, output) for tensor, output in zip(file.outputs(), graph.outputs, strict=True)
    }
    found: dict[str, int] = {}
    same: dict[int, int] = {}
    kept = []
    for operator in file.operators():
        made = operator.outputs[0] if operator.name == MARK else None  # others may have no result
        name = None if made is None else made.name if made.name in marks else results.get(made.index)
        if made is not None and name is not None and name in marks:
            read = operator.read(0)
            same[made.index] = same.get(read.index, read.index)
            found.update(dict.fromkeys(marks[name], same[made.index]))
        else:
            operator.raw.inputs = [same.get(int(index), int(index)) for index in operator.raw.inputs]
            kept.append(operator.raw)
    file.set_operators(kept)
    file.set_outputs(same.get(int(index), int(index)) for index in file.model.subgraphs[0].outputs)
    return found


def _nearest_mark(graph: Graph, tensor: str) -> str:
    """The mark that a result comes from; the converter drops what hands it on, and gives the mark the result's name."""
    while True:
        node, index = graph.producer(tensor), nd.split_tensor(tensor)[1]
        read = nd.data_inputs(node)
        if node.op == MARK or not read:
            return node.name
        tensor = read[index] if node.op == "IdentityN" else read[0]

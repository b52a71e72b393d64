"""Large weights kept from the converter: one number stands in for all of a weight's, which are put back in the file.

The converter holds a dozen copies of each constant. One that has the same number everywhere takes no room, and of a
weight it looks at the shape alone. What it computes from a weight is not found again, and then has to be converted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from calibrant.emit.tflite.conversion.convert import convert
from calibrant.emit.tflite.file_parts import Operator, Tensor
from calibrant.emit.tflite.flatbuffer import File
from calibrant.errors import ModelError
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.inference.constant_folding import constant_nodes
from calibrant.graph.pieces import without_content
from calibrant.graph.running.session import constant_bytes
from calibrant.graph.tf_core import NodeDef, dtypes

LEAST_BYTES = 1 << 18
"""Of a weight for which a number stands in."""
_FIRST_BITS = 0x3C654321
"""A float32 of about 0.014 that no network has everywhere; the next ones are its neighbours."""
_WEIGHT_INPUT = {"MatMul": 1, "BatchMatMulV2": 1, "BatchMatMulV3": 1, "Conv2D": 1, "Conv2DBackpropInput": 1}
_WEIGHT_INPUT |= {"Gather": 0, "GatherV2": 0}
_TURNS = {"MatMul": "transpose_b", "BatchMatMulV2": "adj_y", "BatchMatMulV3": "adj_y"}
_KERNEL_INPUT = {"FULLY_CONNECTED": 1, "BATCH_MATMUL": 1, "CONV_2D": 1, "TRANSPOSE_CONV": 1, "GATHER": 0}


@dataclass(frozen=True, eq=False)
class StandIn:
    """A weight for which a number stands in.

    Parameters
    ----------
    name : str
        Of its constant.
    readers : tuple[NodeDef, ...]
        All operations that read it.
    """

    name: str
    readers: tuple[NodeDef, ...]


def converted_file(graph: Graph) -> File:
    """What the converter makes of a graph, spared its large weights where that is possible.

    Raises
    ------
    ModelError
        The converter does not take the graph.
    """
    light, stand_ins = with_stand_ins(graph)
    if stand_ins:
        with suppress(ModelError):
            file = File(convert(light))
            if put_weights_back(file, graph, stand_ins):
                return file
    return File(convert(graph))


def with_stand_ins(graph: Graph) -> tuple[Graph, dict[float, StandIn]]:
    """The graph with one number everywhere in large weights; the number → the weight."""
    large = [node for node in graph.nodes.values() if _is_large(node) and node.name not in graph.regions]
    if not large:
        return graph, {}
    edit = graph.edit()
    constant = constant_nodes(graph)
    found: dict[float, StandIn] = {}
    for node in large:
        readers = _readers(graph, node, constant)
        if readers:
            number = float(np.uint32(_FIRST_BITS + len(found)).view(np.float32))
            light = without_content(node)
            light.attr["value"].tensor.float_val.append(number)
            edit.put(light)
            found[number] = StandIn(node.name, readers)
    return edit.finish(), found


def _is_large(node: NodeDef) -> bool:
    return node.op == "Const" and nd.attribute(node, "dtype") == dtypes.float32 and constant_bytes(node) >= LEAST_BYTES


def _readers(graph: Graph, node: NodeDef, constant: frozenset[str]) -> tuple[NodeDef, ...] | None:
    """What reads a constant; None where that computes with constants alone, or reads no weight."""
    if node.name in graph.output_nodes:
        return None
    found: list[NodeDef] = []
    for reader, index in graph.consumers(f"{node.name}:0"):
        if reader.op == "Identity":
            behind = _readers(graph, reader, constant)
            if behind is None:
                return None
            found.extend(behind)
        elif _WEIGHT_INPUT.get(reader.op) != index or reader.name in graph.regions or reader.name in constant:
            return None
        else:
            found.append(reader)
    return tuple(found)


def put_weights_back(file: File, graph: Graph, stand_ins: Mapping[float, StandIn]) -> bool:
    """Give a file's weights their numbers, as its kernels read them.

    Parameters
    ----------
    graph : Graph
        That has the weights.

    Returns
    -------
    bool
        Whether each was there for all that read it, and nothing made of its number in another way; else the file is of
        no use, as that of a weight which is multiplied beforehand by what is 1 in some channels.
    """
    served = dict.fromkeys(stand_ins, 0)
    old: set[int] = set()
    placed: dict[tuple[float, tuple[int, ...]], int] = {}
    for part in file.subgraphs():
        readers = _readers_in_file(part)
        for tensor in part.tensors():
            numbers = _large_numbers(part, tensor)
            if numbers is None or (number := float(numbers[0])) not in stand_ins:
                continue
            stand_in, places = stand_ins[number], readers.get(tensor.index, [])
            values = graph.require_constant(f"{stand_in.name}:0")
            axes = _axes(tensor, places, stand_in.readers, values.shape)
            if axes is None or not np.all(numbers == numbers[0]):
                return False
            if (number, axes) not in placed:
                placed[number, axes] = file.add_buffer(values.transpose(axes))
            old.add(tensor.raw.buffer)
            tensor.raw.buffer = placed[number, axes]
            served[number] += len(places)
    _forget(file, old)
    return all(count >= len(stand_ins[number].readers) for number, count in served.items())


def _large_numbers(file: File, tensor: Tensor) -> np.ndarray | None:
    """The numbers of a large constant of type float32."""
    data = file.model.buffers[tensor.raw.buffer].data
    if tensor.dtype != np.float32 or data is None or len(data) < LEAST_BYTES:
        return None
    return np.asarray(data, np.uint8).view(np.float32)


def _forget(file: File, buffers: Iterable[int]) -> None:
    """Let go of the bytes that the converter has made, which each buffer of a file keeps as a whole."""
    for buffer in buffers:
        file.model.buffers[buffer].data = None
    for each in file.model.buffers:
        if each.data is not None and len(each.data):
            each.data = np.array(each.data, np.uint8)


def _readers_in_file(part: File) -> dict[int, list[tuple[Operator, int]]]:
    found: dict[int, list[tuple[Operator, int]]] = {}
    for operator in part.operators():
        for at, tensor in enumerate(operator.inputs):
            if tensor is not None:
                found.setdefault(tensor.index, []).append((operator, at))
    return found


def _axes(
    tensor: Tensor, places: list[tuple[Operator, int]], nodes: tuple[NodeDef, ...], shape: tuple[int, ...]
) -> tuple[int, ...] | None:
    """The order of a weight's axes in which all its kernels read it; None where that is not certain."""
    if not places or any(_KERNEL_INPUT.get(operator.name) != at for operator, at in places):
        return None
    found = {axes for operator, _ in places for node in nodes if (axes := _order(operator, node, len(shape)))}
    found = {axes for axes in found if tuple(shape[axis] for axis in axes) == tensor.shape}
    return found.pop() if len(found) == 1 else None


def _order(operator: Operator, node: NodeDef, rank: int) -> tuple[int, ...] | None:
    as_it_is = tuple(range(rank))
    turned = (*as_it_is[:-2], *as_it_is[:-3:-1])
    if operator.name == "GATHER":
        return as_it_is if node.op in ("Gather", "GatherV2") else None
    if operator.name in ("FULLY_CONNECTED", "BATCH_MATMUL"):
        if node.op not in _TURNS or (operator.name == "FULLY_CONNECTED" and rank != 2):
            return None
        is_turned = operator.name == "FULLY_CONNECTED" or operator.options.adjY
        return as_it_is if nd.attribute(node, _TURNS[node.op], False) == is_turned else turned
    return {("CONV_2D", "Conv2D"): (3, 0, 1, 2), ("TRANSPOSE_CONV", "Conv2DBackpropInput"): (2, 0, 1, 3)}.get(
        (operator.name, node.op)
    )

"""Loops over sequences: lists of tensors whose shapes the converter has to know."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from calibrant.emit.tflite.settings import TfliteSettings
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.tf_core import NodeDef

SHAPES = {"TensorListReserve": 0, "TensorListFromTensor": 1, "TensorListStack": 1}
"""Input that says the shape of an element, whose first size is that of the batch."""


def with_batch_of_lists(graph: Graph, settings: TfliteSettings) -> TfliteSettings:
    """The settings with one sample a run, where there is such a loop and nobody says how many."""
    loops = any(node.op in SHAPES or _is_open_array(node) for node in graph.nodes.values())
    inputs = zip(graph.input_keys, graph.inputs, strict=True)
    shapes = (graph.shape(tensor) for key, tensor in inputs if settings.shape_of(key, nd.node_name(tensor)) is None)
    is_open = any(shape and shape[0] is None for shape in shapes)
    return replace(settings, batch=1) if loops and settings.batch is None and is_open else settings


def fixed_batch(graph: Graph) -> int | None:
    """The number of samples of a graph; None where it is open, or inputs differ in it."""
    sizes = {shape[0] for shape in map(graph.shape, graph.inputs) if shape}
    return sizes.pop() if len(sizes) == 1 else None


def elements_of_the_batch(edit: Edit, size: int | None) -> None:
    """Let lists know what their elements begin with: as many sequences as their loop reads, or else the samples."""
    graph = edit.graph
    if size is None:
        return
    sequences = dict(_sequences(graph))
    for node in graph.nodes.values():
        index = SHAPES.get(node.op)
        if index is None:
            continue
        shape = graph.constant(nd.data_inputs(node)[index])
        if shape is not None and shape.ndim == 1 and shape.size and shape[0] < 0:
            first = next((sequences[loop] for loop in _loops(graph, node) if loop in sequences), size)
            known = np.array([first, *shape[1:]], shape.dtype)
            edit.set_input(node.name, index, edit.add_constant(f"{node.name}/element", known))


def _sequences(graph: Graph) -> Iterator[tuple[str, int]]:
    """Loop → the number of sequences that it reads: an LSTM of words or patches has many to a sample."""
    for node in graph.nodes.values():
        shape = graph.shape(nd.data_inputs(node)[0]) if node.op == "TensorListFromTensor" else None
        if shape is not None and len(shape) > 1 and shape[1] is not None:
            for loop in _loops(graph, node):
                yield loop, shape[1]


def _loops(graph: Graph, node: NodeDef) -> list[str]:
    """The loops that read a list, or that a stacked one comes from."""
    if node.op != "TensorListStack":
        return [reader.name for reader, _ in graph.consumers(f"{node.name}:0")]
    maker = graph.producer(nd.data_inputs(node)[0])
    while maker.op == "Identity":
        maker = graph.producer(nd.data_inputs(maker)[0])
    return [maker.name]


def _is_open_array(node: NodeDef) -> bool:
    """Whether elements of an array of TensorFlow 1.x begin with a size that nobody knows."""
    if node.op != "TensorArrayV3" or "element_shape" not in node.attr:  # reading would add it
        return False
    sizes = node.attr["element_shape"].shape.dim
    return len(sizes) > 0 and sizes[0].size < 0

"""Tensors that say how large others are: sums and means of what cannot be negative, which are seldom near zero."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from calibrant.algorithms.histogram import Histogram
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.steps.plain.nodes import beside_number

POSITIVE = frozenset({"Abs", "Exp", "Sigmoid", "Softmax", "Softplus", "Sqrt", "Square", "SquaredDifference"})
"""Not Relu: where all numbers of a sum are zero, what is added to it counts, and eight bits lose it."""
REDUCING = frozenset({"Mean", "Sum"})
DEEPEST = 8
"""How many operations a norm may be made of; they may meet, so that each more can double the work."""
WIDEST = 8.0
"""Largest over smallest norm that 8 bits tell apart: the smallest has 32 codes, which is half a code in 64."""
KEEPING = frozenset({"ExpandDims", "Identity", "Reshape", "Slice", "Squeeze", "StridedSlice", "Transpose"})


def is_norm_above_zero(graph: Graph, tensor: str) -> bool:
    """Whether a tensor is a norm to which a positive number is added, or which is at least that."""
    node = graph.producer(tensor)
    if node.op not in ("Add", "AddV2", "Maximum"):
        return False
    inputs = nd.data_inputs(node)
    constants = [graph.constant(read) for read in inputs]
    return any(
        least is not None and least.size and least.min() > 0 and _is_norm(graph, read)
        for read, least in zip(inputs, constants[::-1], strict=True)
    )


def wide_reciprocals(graph: Graph, histograms: Mapping[str, Histogram]) -> frozenset[str]:
    """The norms that differ so much that 8 bits cannot hold them and what they divide by, with their reciprocals.

    Parameters
    ----------
    graph : Graph
        In which quotients by norms are products with reciprocals.
    histograms : Mapping[str, Histogram]
        Tensor → what was observed.
    """
    return frozenset(
        tensor
        for norm, *made in _reciprocals(graph)
        if norm in histograms and not histograms[norm].maximum <= WIDEST * histograms[norm].minimum
        for tensor in (norm, *made)
    )


def _reciprocals(graph: Graph) -> Iterator[tuple[str, str, str]]:
    """Norms, the reciprocals of their roots, and the squares of these."""
    for node in graph.nodes.values():
        inputs = nd.data_inputs(node)
        if node.op == "Mul" and inputs[0] == inputs[1] and graph.producer(inputs[0]).op == "Rsqrt":
            [read] = nd.data_inputs(graph.producer(inputs[0]))
            if is_norm_above_zero(graph, read):
                yield read, inputs[0], f"{node.name}:0"


def _is_norm(graph: Graph, tensor: str, depth: int = DEEPEST) -> bool:
    """Whether a tensor is a sum or mean of what cannot be negative, or the span between extremes, or made of these."""
    node, inputs = graph.producer(tensor), nd.data_inputs(graph.producer(tensor))
    if not depth:
        return False
    if node.op in REDUCING:
        return _is_norm(graph, inputs[0], depth - 1) or _is_positive(graph, inputs[0], depth - 1)
    if node.op in ("Add", "AddV2"):
        return all(_is_norm(graph, read, depth - 1) for read in inputs)
    if node.op == "Sub":
        return _is_span(graph, *inputs)
    return node.op in {"Sqrt", *KEEPING} and _is_norm(graph, inputs[0], depth - 1)


def _is_positive(graph: Graph, tensor: str, depth: int) -> bool:
    node, inputs = graph.producer(tensor), nd.data_inputs(graph.producer(tensor))
    if not depth:
        return False
    if node.op == "Mul":
        reached = depth - 1
        return inputs[0] == inputs[1] or all(
            _is_norm(graph, each, reached) or _is_positive(graph, each, reached) for each in inputs
        )
    if node.op in KEEPING:
        return _is_positive(graph, inputs[0], depth - 1)
    added = beside_number(graph, node, lambda number: number >= 1)
    return node.op in POSITIVE or (added is not None and graph.producer(added).op == "Elu")


def _is_span(graph: Graph, largest: str, smallest: str) -> bool:
    first, second = graph.producer(largest), graph.producer(smallest)
    if (first.op, second.op) != ("Max", "Min"):
        return False
    if nd.attribute(first, "keep_dims", False) != nd.attribute(second, "keep_dims", False):
        return False
    (data, axes), (other, other_axes) = nd.data_inputs(first), nd.data_inputs(second)
    reduced, others = graph.constant(axes), graph.constant(other_axes)
    return data == other and reduced is not None and others is not None and np.array_equal(reduced, others)

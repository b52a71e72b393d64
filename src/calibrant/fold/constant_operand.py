"""Constant operands of elementwise operations, read as one value per channel."""

from __future__ import annotations

import numpy as np

from calibrant.fold.channel_op import usable
from calibrant.fold.layout import Layout
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef
from calibrant.layer_kinds import ADDITIONS

FACTORS = frozenset({"Mul", "RealDiv"})


def constant_operand(graph: Graph, node: NodeDef, index: int) -> np.ndarray | None:
    """The value of the operand that is not at ``index``; None if it depends on an input."""
    return graph.constant(nd.data_inputs(node)[1 - index])


def factor(graph: Graph, node: NodeDef, index: int, layout: Layout) -> tuple[np.ndarray, bool] | None:
    """What x · c, c · x or x / c multiplies each channel with, float64 [channels], and whether c is a single number."""
    if node.op not in FACTORS or (node.op == "RealDiv" and index != 0):
        return None
    constant = constant_operand(graph, node, index)
    if constant is None:
        return None
    values = layout.per_channel(constant)
    if values is None:
        return None
    if node.op == "RealDiv":
        with np.errstate(divide="ignore"):
            values = 1 / values
    single = constant.ndim == 0 or (constant.size == 1 and layout.channels > 1)
    return (values, single) if usable(values) else None


def addend(graph: Graph, node: NodeDef, index: int, layout: Layout) -> np.ndarray | None:
    """What x + c, c + x, x − c or BiasAdd(x, c) adds to each channel, float64 [channels]."""
    if node.op == "BiasAdd":
        agrees = index == 0 and layout.agrees(nd.attribute(node, "data_format"))
    else:
        agrees = node.op in ADDITIONS or (node.op == "Sub" and index == 0)
    constant = constant_operand(graph, node, index) if agrees else None
    if constant is None:
        return None
    if node.op == "BiasAdd":
        values = constant.astype(np.float64) if constant.shape == (layout.channels,) else None
    else:
        values = layout.per_channel(constant)
    if values is None or not usable(values):
        return None
    return -values if node.op == "Sub" else values

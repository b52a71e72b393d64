"""Step: layer norms that Keras 2 writes as a FusedBatchNorm over rows become the operations that these consist of.

The converter takes them apart as well, but then the graph does not have the numbers between its operators.
"""

from __future__ import annotations

import numpy as np

from calibrant.fold.fused_norm import FUSED_NORMS
from calibrant.graph import nodes as nd
from calibrant.graph.checks import is_layer_norm
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.tf_core import NodeDef, dtypes
from calibrant.steps.plain_nodes import add_inner, float_nodes, put_last

ROWS = (2, 3)
"""Axes of an image with channels first, of which each channel is a row."""


def with_plain_layer_norms(graph: Graph) -> Graph:
    """The graph with (x - mean) / sqrt(variance + epsilon) for such norms; the same up to rounding.

    The product has the norm's name.
    """
    edit = graph.edit()
    found = [node for node in float_nodes(graph, FUSED_NORMS) if _is_over_rows(graph, node)]
    for node in found:
        data = nd.data_inputs(node)[0]
        axes = edit.add_constant(f"{node.name}/axes", np.array(ROWS, np.int32))
        epsilon = edit.add_constant(f"{node.name}/epsilon", np.float32(nd.attribute(node, "epsilon", 1e-4)))
        centred = add_inner(edit, "Sub", node, "centred", data, _mean(edit, f"{node.name}/mean", data, axes))
        square = add_inner(edit, "Mul", node, "square", centred, centred)
        variance = _mean(edit, f"{node.name}/variance", square, axes)
        root = add_inner(edit, "Rsqrt", node, "root", add_inner(edit, "AddV2", node, "sum", variance, epsilon))
        put_last(edit, "Mul", node, centred, root)
    return edit.finish() if found else graph


def _mean(edit: Edit, name: str, data: str, axes: str) -> str:
    return edit.add("Mean", name, [data, axes], T=dtypes.float32, Tidx=dtypes.int32, keep_dims=True)


def _is_over_rows(graph: Graph, node: NodeDef) -> bool:
    """Whether a norm is a layer norm with a factor of 1 and a shift of 0, of which only the result is read."""
    _, scale, shift, *_ = nd.data_inputs(node)
    return (
        nd.attribute(node, "is_training", True)
        and is_layer_norm(graph, node)
        and graph.read_outputs(node.name) == (0,)
        and _filled_with(graph, scale) == 1
        and _filled_with(graph, shift) == 0
    )


def _filled_with(graph: Graph, tensor: str) -> float | None:
    """The number that a tensor consists of; None where that is not known."""
    maker = graph.producer(tensor)
    value = graph.constant(nd.data_inputs(maker)[1] if maker.op == "Fill" else tensor)
    return None if value is None or not value.size or np.ptp(value) else float(value.flat[0])

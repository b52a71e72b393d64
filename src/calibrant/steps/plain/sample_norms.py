"""Step: norms that take their statistics from the sample become the operations that these consist of: layer norms that
Keras 2 writes as a FusedBatchNorm over rows, and batch norms in training mode where a model takes one sample at a time.

The converter takes them apart as well, but then the graph does not have the numbers between its operators.
"""

from __future__ import annotations

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.channel_order import is_channels_first
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.reading.checks import is_layer_norm
from calibrant.graph.sample_axis import takes_one_sample
from calibrant.graph.tf_core import NodeDef, dtypes
from calibrant.layer_kinds import FUSED_NORMS
from calibrant.steps.plain.nodes import add_inner, float_nodes, put_last


def with_plain_sample_norms(graph: Graph) -> Graph:
    """The graph with (x - mean) / sqrt(variance + epsilon) for such norms; the same up to rounding.

    The last product or sum has the norm's name.
    """
    edit = graph.edit()
    found = [node for node in float_nodes(graph, FUSED_NORMS) if _is_of_samples(graph, node)]
    for node in found:
        data, scale, shift, *_ = nd.data_inputs(node)
        axes = edit.add_constant(f"{node.name}/axes", np.array((2, 3) if is_channels_first(node) else (1, 2), np.int32))
        epsilon = edit.add_constant(f"{node.name}/epsilon", np.float32(nd.attribute(node, "epsilon", 1e-4)))
        centred = add_inner(edit, "Sub", node, "centred", data, _mean(edit, f"{node.name}/mean", data, axes))
        square = add_inner(edit, "Mul", node, "square", centred, centred)
        variance = _mean(edit, f"{node.name}/variance", square, axes)
        root = add_inner(edit, "Rsqrt", node, "root", add_inner(edit, "AddV2", node, "sum", variance, epsilon))
        if is_layer_norm(graph, node):
            put_last(edit, "Mul", node, centred, root)
            continue
        normed = add_inner(edit, "Mul", node, "normed", centred, root)
        scales, shifts = (_of_channels(edit, node, tensor) for tensor in (scale, shift))
        put_last(edit, "AddV2", node, add_inner(edit, "Mul", node, "product", normed, scales), shifts)
    return edit.finish() if found else graph


def _mean(edit: Edit, name: str, data: str, axes: str) -> str:
    return edit.add("Mean", name, [data, axes], T=dtypes.float32, Tidx=dtypes.int32, keep_dims=True)


def _of_channels(edit: Edit, node: NodeDef, tensor: str) -> str:
    """Numbers of the channels in a shape that is broadcast to the norm's."""
    value = edit.graph.require_constant(tensor)
    shape = (-1, 1, 1) if is_channels_first(node) else (-1,)
    return edit.add_constant(f"{nd.node_name(tensor)}/of_channels", value.reshape(shape))


def _is_of_samples(graph: Graph, node: NodeDef) -> bool:
    """Whether a norm's statistics are those of its sample, and its factors are known; only its result is read."""
    data, scale, shift, *_ = nd.data_inputs(node)
    if not nd.attribute(node, "is_training", True) or graph.read_outputs(node.name) != (0,):
        return False
    if is_layer_norm(graph, node):
        return _filled_with(graph, scale) == 1 and _filled_with(graph, shift) == 0
    shape = graph.shape(data)
    is_sample = shape is not None and len(shape) == 4 and shape[0] == 1 and takes_one_sample(graph)
    return is_sample and graph.constant(scale) is not None and graph.constant(shift) is not None


def _filled_with(graph: Graph, tensor: str) -> float | None:
    """The number that a tensor consists of; None where that is not known."""
    maker = graph.producer(tensor)
    value = graph.constant(nd.data_inputs(maker)[1] if maker.op == "Fill" else tensor)
    return None if value is None or not value.size or np.ptp(value) else float(value.flat[0])

"""Fusion 1: FusedBatchNorm, V2 and V3 after a layer."""

from __future__ import annotations

import numpy as np

from calibrant.fold.channel_op import NORM, ChannelOp, usable
from calibrant.fold.layout import Layout
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef
from calibrant.layer_kinds import FUSED_NORMS

DEFAULT_EPSILON = 1e-4


def recognise(graph: Graph, node: NodeDef, index: int, layout: Layout) -> ChannelOp | str | None:
    """A norm in inference mode: y = (x − mean) / √(variance + ε) · gamma + beta, all of them [channels].

    Returns
    -------
    ChannelOp | str | None
        The step, the reason why this norm cannot be folded, or None for other nodes.
    """
    if node.op not in FUSED_NORMS:
        return None
    if index != 0:
        return "the layer gives the norm a parameter, not its data"
    if nd.attribute(node, "is_training", True):
        return "it is in training mode"
    if any(graph.consumers(f"{node.name}:{output}") for output in range(1, 6)) or any(
        f"{node.name}:{output}" in graph.outputs for output in range(1, 6)
    ):
        return "its statistics are read"
    if not layout.agrees(nd.attribute(node, "data_format")):
        return f"its data format {nd.attribute(node, 'data_format', 'NHWC')} is not that of the layer"
    operands = [graph.constant(tensor) for tensor in nd.data_inputs(node)[1:5]]
    parameters = [operand for operand in operands if operand is not None]
    if len(parameters) < len(operands):
        return "its parameters are not constant"
    if any(parameter.size != layout.channels for parameter in parameters):
        return f"its parameters are not for {layout.channels} channels"
    gamma, beta, mean, variance = (parameter.reshape(-1).astype(np.float64) for parameter in parameters)
    with np.errstate(all="ignore"):
        scale = gamma / np.sqrt(variance + nd.attribute(node, "epsilon", DEFAULT_EPSILON))
        shift = beta - mean * scale
    if not (usable(scale) and usable(shift)):
        return "its parameters give infinite or undefined factors"
    return ChannelOp(node, NORM, layout, scale, shift)

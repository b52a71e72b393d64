"""Step: a FusedBatchNorm that no layer has absorbed becomes a product and a sum.

Between both, as an integer kernel computes them, there is a tensor whose range has to be observed.
"""

from __future__ import annotations

import numpy as np

from calibrant.fold import fused_norm
from calibrant.fold.channel_op import ChannelOp
from calibrant.fold.layout import layout_for
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.layer_kinds import FUSED_NORMS
from calibrant.steps.plain.nodes import add_inner, float_nodes, put_last


def with_plain_norms(graph: Graph) -> Graph:
    """The graph with every norm in inference mode whose parameters are constant as x · a + b; the same up to rounding.

    The sum has the norm's name.
    """
    edit, found = graph.edit(), False
    for node in float_nodes(graph, FUSED_NORMS):
        data, gamma, *_ = nd.data_inputs(node)
        parameter, rank = graph.constant(gamma), len(graph.shape(data) or ())
        if parameter is None or graph.constant(data) is not None:
            continue
        if not rank:  # nothing but the norm says it
            continue
        layout = layout_for(nd.attribute(node, "data_format"), rank, parameter.size)
        norm = None if layout is None else fused_norm.recognise(graph, node, 0, layout)
        if layout is None or not isinstance(norm, ChannelOp) or norm.scale is None or norm.shift is None:
            continue
        found = True
        shape = (-1,) + (1,) * (-1 - layout.axis)
        scale, shift = (
            edit.add_constant(f"{node.name}/{part}", value.astype(np.float32).reshape(shape))
            for part, value in (("scale", norm.scale), ("shift", norm.shift))
        )
        put_last(edit, "AddV2", node, add_inner(edit, "Mul", node, "product", data, scale), shift)
    return edit.finish() if found else graph

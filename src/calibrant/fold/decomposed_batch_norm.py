"""Fusion 6: a batch norm written out in small operations.

The constant side (``Rsqrt(variance + ε) · gamma`` and ``beta − mean · factor``) is evaluated as a constant; what
remains on the data path is one of

    x · a + b                  Keras with fused=False, tf.nn.batch_normalization, grappler's constant folding
    (x − mean) · a + b         the formula of the paper; also with a division by the deviation
    x · a                      without mean and beta

a and b with one value per channel, every operand order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from calibrant.fold.channel_op import SCALE, SHIFT, ChannelOp
from calibrant.fold.constant_operand import FACTORS, constant_operand, factor
from calibrant.fold.layout import Layout
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef
from calibrant.layer_kinds import ADDITIONS


def recognise(graph: Graph, node: NodeDef, index: int, layout: Layout) -> ChannelOp | None:
    """The factor of a norm: x · a, a · x or x / a with one constant per channel."""
    scale = factor(graph, node, index, layout)
    return ChannelOp(node, SCALE, layout, scale=scale[0]) if scale is not None and not scale[1] else None


def continues(steps: Sequence[ChannelOp], following: ChannelOp | None) -> bool:
    """Whether the last of the steps is part of a norm that the following step continues."""
    last = steps[-1]
    if following is None:
        return False
    if last.role == SCALE:
        return following.role in (SCALE, SHIFT)
    return last.role == SHIFT and last.node.op == "Sub" and following.role == SCALE


def looks_like_norm(graph: Graph, node: NodeDef) -> bool:
    """Whether a node is x · a followed by x + b, for any x and constant vectors a and b."""
    if node.op not in FACTORS or _vector(graph, node) is None:
        return False
    reader = graph.only_consumer(node.name)
    return reader is not None and reader[0].op in ADDITIONS | {"Sub"} and _vector(graph, reader[0]) is not None


def _vector(graph: Graph, node: NodeDef) -> np.ndarray | None:
    operands = [constant_operand(graph, node, index) for index in (0, 1)]
    constants = [operand for operand in operands if operand is not None]
    if len(constants) != 1 or constants[0].size < 2 or constants[0].size != max(constants[0].shape):
        return None
    return constants[0]

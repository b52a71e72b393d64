"""Fusion 6: a batch norm written out in small operations.

The constant side (``Rsqrt(variance + ε) · gamma`` and ``beta − mean · factor``) is evaluated as a constant; what
remains on the data path is one of

    x · a + b                  Keras with fused=False, tf.nn.batch_normalization, grappler's constant folding
    (x − mean) · a + b         the formula as it is in the paper; also with a division by the deviation
    x · a                      without mean and beta

a and b with one value per channel, every operand order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tensorflow.core.framework.node_def_pb2 import NodeDef

from calibrant.fold.channel_op import SCALE, SHIFT, ChannelOp
from calibrant.fold.constant_operand import FACTORS, constant_operand, factor
from calibrant.fold.layout import Layout
from calibrant.graph.graph import Graph
from calibrant.graph.layer_kinds import ADDITIONS


def recognise(graph: Graph, node: NodeDef, index: int, layout: Layout) -> ChannelOp | None:
    """The factor of a norm: x · a, a · x or x / a with one constant per channel."""
    found = factor(graph, node, index, layout)
    return ChannelOp(node, SCALE, layout, scale=found[0]) if found is not None and not found[1] else None


def goes_on(taken: Sequence[ChannelOp], following: ChannelOp | None) -> bool:
    """Whether the last of the steps is part of a norm that the following step continues."""
    last = taken[-1]
    if following is None:
        return False
    if last.role == SCALE:
        return following.role in (SCALE, SHIFT)
    return last.role == SHIFT and last.node.op == "Sub" and following.role == SCALE


def looks_like_norm(graph: Graph, node: NodeDef) -> bool:
    """Whether a node is x · a with x + b behind it, a and b constant vectors, wherever x comes from."""
    if node.op not in FACTORS or _vector(graph, node) is None:
        return False
    reader = graph.only_consumer(node.name)
    return reader is not None and reader[0].op in ADDITIONS | {"Sub"} and _vector(graph, reader[0]) is not None


def _vector(graph: Graph, node: NodeDef) -> np.ndarray | None:
    constants = [constant_operand(graph, node, index) for index in (0, 1)]
    found = [constant for constant in constants if constant is not None]
    if len(found) != 1 or found[0].size < 2 or found[0].size != max(found[0].shape):
        return None
    return found[0]

"""One node behind a layer, as what it does to every channel of the layer's output."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tensorflow.core.framework.node_def_pb2 import NodeDef

from calibrant.fold.layout import Layout

NORM, SCALE, SCALAR, SHIFT, NOTHING, STAYS = "norm", "scale", "scalar", "shift", "nothing", "stays"


@dataclass(frozen=True)
class ChannelOp:
    """A node that multiplies channels, adds to channels, or moves them without touching values.

    Parameters
    ----------
    node : the node, as it is in the graph.
    role : NORM (a batch norm op), SCALE (a factor per channel), SCALAR (one factor), SHIFT (an addition),
        NOTHING (Identity) – these can be taken into the layer; STAYS: rearranges the tensor and stays in the graph.
    layout : of its output.
    scale, shift : float64 [channels], output = input · scale + shift; None for 1 and 0.
    remark : the structure it stands for, for the fusion's name.
    bias_in_front : whether a BiasAdd behind this node would not be the layer's: there it could not be added to the
        layer's integers, or not at all.
    """

    node: NodeDef
    role: str
    layout: Layout
    scale: np.ndarray | None = None
    shift: np.ndarray | None = None
    remark: str = ""
    bias_in_front: bool = False


def usable(values: np.ndarray) -> bool:
    """Whether every value survives as float32."""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(values.astype(np.float32)).all())

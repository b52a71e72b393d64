"""One node after a layer: its effect on every channel of the layer's output."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibrant.fold.layout import Layout
from calibrant.graph.tf_core import NodeDef

NORM, SCALE, SCALAR, SHIFT, NOTHING, STAYS = "norm", "scale", "scalar", "shift", "nothing", "stays"


@dataclass(frozen=True)
class ChannelOp:
    """A node that multiplies channels, adds to them, or moves them without changing values.

    Parameters
    ----------
    node : NodeDef
        The node, as it is in the graph.
    role : str
        NORM (a batch norm op), SCALE (a factor per channel), SCALAR (one factor), SHIFT (an addition) or NOTHING
        (Identity), which the layer can absorb; or STAYS: the node rearranges the tensor and stays in the graph.
    layout : Layout
        Layout of its output.
    scale, shift : np.ndarray | None
        Values of type float64 [channels], output = input · scale + shift; None for 1 and 0.
    remark : str
        The structure it is part of, for the fusion's name.
    """

    node: NodeDef
    role: str
    layout: Layout
    scale: np.ndarray | None = None
    shift: np.ndarray | None = None
    remark: str = ""


def usable(values: np.ndarray) -> bool:
    """Whether every value survives as float32."""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(values.astype(np.float32)).all())

"""What the configuration has to know about a graph, as plain values: no graph library is needed to resolve a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from calibrant.layer_kinds import KINDS

QUANTIZABLE_TYPES = tuple(KINDS)
"""Operator types that are quantized as layers."""

CHANNEL_TYPES = frozenset(name for name, kind in KINDS.items() if kind.channel_axes)
"""Layer types whose weights have output channels, each of which can have a scale of its own."""

FEW_BIT_TYPES = tuple(name for name, kind in KINDS.items() if kind.few_bits)
"""Layer types whose weights may have 6 or 7 bits."""

BALANCED_TYPES = tuple(name for name, kind in KINDS.items() if kind.balanced)
"""Layer types that the balancer acts on."""

_UNDILATED = " and ".join(name for name, kind in KINDS.items() if kind.balanced_undilated)
BALANCED_WORDS = f"{', '.join(BALANCED_TYPES)} with constant weights ({_UNDILATED} without dilation)"


@dataclass(frozen=True)
class LayerInfo:
    """One quantizable layer.

    Parameters
    ----------
    name, type : str
        The node's name and operator.
    has_channels : bool
        Its weights have output channels, so that per-channel scales exist.
    has_weights : bool
        False for AvgPool and for a product of two activations.
    dynamic : bool
        A BatchMatMul whose two inputs are activations; these are quantized symmetrically only.
    dilated : bool
        A convolution with dilation.
    constant : str | None
        Name of its constant weights, which other layers may share.
    channel_axes : tuple[int, ...]
        Axes of their output channels.
    weight_only : bool
        It is inside a loop or a branch, so that nothing but its weights can be quantized.
    """

    name: str
    type: str
    has_channels: bool
    has_weights: bool = True
    dynamic: bool = False
    dilated: bool = False
    constant: str | None = None
    channel_axes: tuple[int, ...] = ()
    weight_only: bool = False

    @property
    def can_be_balanced(self) -> bool:
        """Whether the balancer acts on it."""
        if self.weight_only:
            return False
        kind = KINDS[self.type]
        return self.has_weights and kind.balanced and not (kind.balanced_undilated and self.dilated)


@dataclass(frozen=True)
class GraphInfo:
    """A graph, as far as a configuration file can talk about it.

    Parameters
    ----------
    layers : tuple[LayerInfo, ...]
        The quantizable layers in graph order.
    node_types : Mapping[str, str]
        Name to operator of every node of the graph.
    weight_only : tuple[LayerInfo, ...]
        Layers inside loops and branches whose weights alone can be quantized.
    rejected : tuple[tuple[str, str, str], ...]
        (name, type, reason) of each node that could be meant as a layer but cannot be quantized.
    float_inputs : Mapping[str, tuple[bool, ...]]
        For every MaxPool, Add and AddV2 node, whether each of its inputs carries float data.
    fusible : frozenset[str]
        Names that ``skip_fusion_layers`` may hold.
    fused_into : Mapping[str, str]
        MaxPool, Add and AddV2 nodes that are gone because a layer took them in → that layer.
    constant_layers : int
        Number of nodes of layer types that depend on no input, and are computed beforehand.
    """

    layers: tuple[LayerInfo, ...]
    node_types: Mapping[str, str]
    weight_only: tuple[LayerInfo, ...] = ()
    rejected: tuple[tuple[str, str, str], ...] = ()
    float_inputs: Mapping[str, tuple[bool, ...]] = field(default_factory=dict)
    fusible: frozenset[str] = frozenset()
    fused_into: Mapping[str, str] = field(default_factory=dict)
    constant_layers: int = 0

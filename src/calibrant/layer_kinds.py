"""The table of quantizable layer kinds. A new kind is a row here; everything else asks the row. No TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Attributes = Callable[[str], Any]
"""Name of an attribute of a node → its value, or None."""


def _no_condition(attribute: Attributes) -> str | None:
    return None


def _undilated(attribute: Attributes) -> str | None:
    dilations = attribute("dilations") or [1]
    return None if all(d == 1 for d in dilations) else f"dilation {list(dilations)}, only 1 is supported"


def _undilated_in_depth(attribute: Attributes) -> str | None:
    dilations = attribute("dilations") or [1] * 5
    depth_axis = 2 if attribute("data_format") == "NCDHW" else 1
    return None if dilations[depth_axis] == 1 else f"dilation {dilations[depth_axis]} in depth, only 1 is supported"


def _untransposed(attribute: Attributes) -> str | None:
    return _first_true(attribute, "transpose_a", "transpose_b", "grad_a", "grad_b")


def _untransposed_data(attribute: Attributes) -> str | None:
    return _first_true(attribute, "adj_x", "grad_x", "grad_y")


def _first_true(attribute: Attributes, *keys: str) -> str | None:
    return next((f"{key} is true" for key in keys if attribute(key)), None)


def _known_window(attribute: Attributes) -> str | None:
    window = attribute("ksize") or []
    if len(window) != 4 or any(size <= 0 for size in window):
        return f"pooling window {list(window)} is not of a known size"
    return None


@dataclass(frozen=True)
class WeightInput:
    """Input index of the weights of a layer kind, and the axis of the weights that counts input channels."""

    input_index: int
    reduced_axis: int


@dataclass(frozen=True)
class LayerKind:
    """How one operator type is quantized.

    Parameters
    ----------
    data_inputs : tuple of int
        Input indices that carry activations.
    weight_input : int or None
        Input index of the weights; None for kinds without weights.
    channel_axes : tuple of int
        Axes of the weights that count output channels; empty where weights are quantized per tensor only.
    reduced_axis : int or None
        Axis of the weights that counts input channels, for balancing.
    spatial : int
        Number of spatial axes that a kernel or window moves over; 0 for products of matrices.
    rank : int or None
        Rank of the output; None where any rank is possible.
    transposed : bool
        The weights are laid out as those of a transposed convolution, output channels before input channels.
    multiplies_activations : bool
        Both operands may be activations.
    few_bits : bool
        Weights may have 6 or 7 bits.
    nonuniform : bool
        Non-uniform weights (NUQ) are possible, for layers without dilation.
    balanced, balanced_undilated : bool
        The DMQ balancer acts on it where its weights are constant; the second, only without dilation.
    condition : callable
        Attributes of a node to the reason why this node cannot be quantized, or None.
    """

    data_inputs: tuple[int, ...]
    weight_input: int | None
    channel_axes: tuple[int, ...]
    reduced_axis: int | None
    spatial: int = 0
    rank: int | None = None
    transposed: bool = False
    multiplies_activations: bool = False
    few_bits: bool = False
    nonuniform: bool = False
    balanced: bool = False
    balanced_undilated: bool = False
    condition: Callable[[Attributes], str | None] = _no_condition

    @property
    def weights(self) -> WeightInput:
        """The input of the weights.

        Raises
        ------
        ValueError
            The kind has no weights.
        """
        if self.weight_input is None or self.reduced_axis is None:
            raise ValueError("this layer kind has no weights")
        return WeightInput(self.weight_input, self.reduced_axis)


_BATCHED = LayerKind((0,), 1, (), 0, multiplies_activations=True, balanced=True, condition=_untransposed_data)

KINDS: dict[str, LayerKind] = {
    "Conv2D": LayerKind((0,), 1, (3,), 2, spatial=2, rank=4, few_bits=True, nonuniform=True, balanced=True),
    "DepthwiseConv2dNative": LayerKind((0,), 1, (2, 3), 2, spatial=2, rank=4, balanced=True, balanced_undilated=True),
    "Conv2DBackpropInput": LayerKind(
        (2,),
        1,
        (2,),
        3,
        spatial=2,
        rank=4,
        transposed=True,
        nonuniform=True,
        balanced=True,
        balanced_undilated=True,
        condition=_undilated,
    ),
    "Conv3D": LayerKind((0,), 1, (4,), 3, spatial=3, rank=5, balanced=True, condition=_undilated_in_depth),
    "MatMul": LayerKind((0,), 1, (), 0, rank=2, nonuniform=True, balanced=True, condition=_untransposed),
    "BatchMatMul": _BATCHED,
    "BatchMatMulV2": _BATCHED,
    "BatchMatMulV3": _BATCHED,
    "AvgPool": LayerKind((0,), None, (), None, spatial=2, rank=4, condition=_known_window),
}

ADDITIONS = frozenset({"Add", "AddV2"})
FUSED_NORMS = frozenset({"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"})
TENSOR_QUANTIZABLE = ("MaxPool", "Add", "AddV2")
"""Operator types whose inputs ``tensor_quantize`` may name."""

"""Layers that are written as calibrant writes them: quantized inputs, the layer, its bias, AscendDequant."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.ascend.deq_scale import unpack
from calibrant.graph.ascend.scoped_builder import ScopedBuilder
from calibrant.graph.tf_core import NodeDef, dtypes
from calibrant.layer_kinds import KINDS


@dataclass(frozen=True, eq=False)
class MatchedLayer:
    """One layer with everything that turns its accumulator into float.

    Parameters
    ----------
    layer : NodeDef
        The layer.
    bias : NodeDef | None
        Its BiasAdd, or None.
    dequant : NodeDef
        The AscendDequant after it.
    quantizers : dict[int, NodeDef]
        Input index → the AscendQuant node it reads.
    weight_input : int | None
        Input index of the weights; None without weights.
    weights : np.ndarray | None
        The integers in their layout, less offset_w, or None.
    channel_axes : tuple[int, ...]
        Axes of the weights along which ``scale`` runs; () if it is one number.
    steps : np.ndarray | None
        The bias in steps of the accumulator, or None.
    scale : np.ndarray
        Value of one step, float32, shape (channels,) or (1,).
    """

    layer: NodeDef
    bias: NodeDef | None
    dequant: NodeDef
    quantizers: dict[int, NodeDef]
    weight_input: int | None
    weights: np.ndarray | None
    channel_axes: tuple[int, ...]
    steps: np.ndarray | None
    scale: np.ndarray


def match(pieces: ScopedBuilder, dequant: NodeDef) -> MatchedLayer | None:
    """The layer before an AscendDequant; None if anything about it is unusual."""
    inputs = nd.data_inputs(dequant)
    scale, shift, _ = unpack(pieces.require_constant(inputs[1]).reshape(-1))
    if shift.any() or not (scale > 0).all():
        return None
    layer, bias, steps = pieces.nodes.get(nd.node_name(inputs[0])), None, None
    if layer is not None and layer.op == "BiasAdd" and pieces.reader_count(layer.name) == 1:
        bias, steps = layer, _steps(pieces, nd.data_inputs(layer)[1])
        layer = pieces.nodes.get(nd.node_name(nd.data_inputs(bias)[0]))
        if steps is None:
            return None
    if layer is None or layer.op not in KINDS or pieces.reader_count(layer.name) != 1:
        return None
    makers = [pieces.nodes[nd.node_name(tensor)] for tensor in nd.data_inputs(layer)]
    quantizers = {index: maker for index, maker in enumerate(makers) if maker.op == "AscendQuant"}
    kind = KINDS[layer.op]
    weight_input = kind.weight_input
    wanted = kind.data_inputs
    if kind.multiplies_activations and len(quantizers) == 2:
        weight_input, wanted = None, (0, 1)
    if tuple(quantizers) != wanted:
        return None
    weights: np.ndarray | None = None
    axes: tuple[int, ...] = ()
    if weight_input is not None:
        weights = _weights(pieces, makers[weight_input])
        if weights is None:
            return None
        axes = kind.channel_axes if scale.size > 1 else ()
        if scale.size != math.prod(weights.shape[axis] for axis in axes):
            return None
    elif scale.size > 1:
        return None
    return MatchedLayer(layer, bias, dequant, quantizers, weight_input, weights, axes, steps, scale)


def _steps(pieces: ScopedBuilder, tensor: str) -> np.ndarray | None:
    """The bias in integer steps, read before the Cast to a type that may be too narrow for them."""
    node = pieces.nodes.get(nd.node_name(tensor))
    if node is not None and node.op == "Cast" and nd.attribute(node, "SrcT") == dtypes.int32:
        tensor = nd.data_inputs(node)[0]
    return pieces.constant(tensor)


def _weights(pieces: ScopedBuilder, node: NodeDef) -> np.ndarray | None:
    if node.op != "AscendWeightQuant":
        return None
    values, offset = (pieces.constant(tensor) for tensor in nd.data_inputs(node))
    if values is None or offset is None:
        return None
    try:
        return values.astype(np.float32) - np.broadcast_to(offset, values.shape).astype(np.float32)
    except ValueError:
        return None

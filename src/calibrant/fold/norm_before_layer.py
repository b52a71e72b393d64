"""A norm before layers goes into their weights and biases, where that is exact.

W · (x · a + b) is (W · a) · x + W · b. A convolution pads with zeros after the norm, so with padding only a norm
without an addend can be folded. A norm before several layers goes into each of them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from calibrant.fold import bias, decomposed_batch_norm, fused_norm, scalar
from calibrant.fold.channel_op import NORM, NOTHING, SCALE, SHIFT, ChannelOp
from calibrant.fold.constant_operand import FACTORS
from calibrant.fold.layout import Layout, layout_for
from calibrant.fold.result import NotFused
from calibrant.fold.target import SKIPPED, FoldTarget, layer_target
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef
from calibrant.layer_kinds import ADDITIONS, FUSED_NORMS, KINDS

RECOGNISERS = (fused_norm.recognise, scalar.recognise, decomposed_batch_norm.recognise, bias.recognise)
SHIFTS = ADDITIONS | {"Sub", "BiasAdd", "Identity"}
MOST_STEPS = 16
MOST_APART = 256
"""Largest ratio between the factors of two channels: beyond it, eight bits for all channels lose one of them."""


@dataclass(frozen=True)
class NormBeforeLayer:
    """A norm, and the layers that are its only readers.

    Parameters
    ----------
    steps : tuple[ChannelOp, ...]
        The nodes of the norm in the order of the data.
    layers : tuple[NodeDef, ...]
        The layers that read the last of them.
    source : str
        The tensor that the first of them reads.
    scale, shift : np.ndarray
        Factor and addend of each channel, float64 [channels].
    layout : Layout
        Layout of the tensor.
    """

    steps: tuple[ChannelOp, ...]
    layers: tuple[NodeDef, ...]
    source: str
    scale: np.ndarray
    shift: np.ndarray
    layout: Layout


def norms_before_layers(graph: Graph, skip: Collection[str]) -> Iterator[NormBeforeLayer | NotFused]:
    """Every norm that only layers read; NotFused for one that cannot be folded."""
    seen = set()
    for node in graph.nodes.values():
        kind = KINDS.get(node.op)
        if kind is None or kind.weight_input is None or node.name in graph.regions:
            continue
        tensor = _read_norm(graph, node)
        if tensor in seen or not _may_be_norm(graph, tensor):
            continue
        seen.add(tensor)
        layout = _input_layout(graph, node, tensor)
        if layout is None:
            continue
        steps = tuple(_steps(graph, tensor, layout))
        if not any(step.role in (NORM, SCALE) for step in steps) and not _is_rescaling(steps):
            continue
        readers = _readers(graph, tensor)
        layers = tuple(reader for reader in readers if reader is not None)
        reason = _refusal(graph, steps, readers, skip) or _inexact(graph, layers, steps)
        if reason is not None:
            yield from (NotFused(step.node.name, reason) for step in steps)
            continue
        scale, shift = _affine(steps, layout.channels)
        source = next(t for t in nd.data_inputs(steps[0].node) if graph.constant(t) is None)
        yield NormBeforeLayer(steps, layers, source, scale, shift, layout)


def _read_norm(graph: Graph, layer: NodeDef) -> str:
    """The data input of a layer; for a dense layer after a flattening Reshape the input of that."""
    tensor = nd.data_inputs(layer)[KINDS[layer.op].data_inputs[0]]
    node = graph.producer(tensor)
    return nd.data_inputs(node)[0] if layer.op == "MatMul" and _flattens(graph, node) else tensor


def _may_be_norm(graph: Graph, tensor: str) -> bool:
    """Whether a factor is among the operations with constants before a tensor; needs no shapes."""
    for _ in range(MOST_STEPS):
        node = graph.producer(tensor)
        if node.op in FUSED_NORMS or node.op in FACTORS:
            return True
        fed = [t for t in nd.data_inputs(node) if graph.constant(t) is None]
        if node.op not in SHIFTS or len(fed) != 1:
            return False
        tensor = fed[0]
    return False


def _flattens(graph: Graph, node: NodeDef) -> bool:
    """Whether a Reshape makes rows of all axes but the first."""
    if node.op != "Reshape":
        return False
    before, after = graph.shape(nd.data_inputs(node)[0]), graph.shape(f"{node.name}:0")
    if before is None or after is None or len(after) != 2:
        return False
    sizes = nd.static_shape(before[1:])
    return sizes is not None and after[1] == math.prod(sizes)


def _input_layout(graph: Graph, layer: NodeDef, tensor: str) -> Layout | None:
    shape = graph.shape(tensor)
    if shape is None or len(shape) < 2:
        return None
    kind = KINDS[layer.op]
    axes = [-1]
    if not kind.spatial and len(shape) > 2 and kind.rank == 2:
        axes.append(1 - len(shape))
    elif kind.spatial and kind.rank is not None:
        layout = layout_for(nd.attribute(layer, "data_format"), kind.rank, 0)
        axes = [layout.axis] if layout is not None and len(shape) == kind.rank else []
    sizes = [(axis, shape[axis]) for axis in axes]
    layouts = [Layout(len(shape), axis, channels) for axis, channels in sizes if channels]
    return max(layouts, key=lambda layout: len(list(_steps(graph, tensor, layout))), default=None)


def _steps(graph: Graph, tensor: str, layout: Layout) -> Sequence[ChannelOp]:
    """The nodes before a tensor that multiply channels or add to them, in the order of the data."""
    steps: list[ChannelOp] = []
    while True:
        node = graph.producer(tensor)
        if node.name in graph.input_nodes or nd.split_tensor(tensor)[1] != 0 or nd.control_inputs(node):
            return steps[::-1]
        if steps and graph.only_consumer(node.name) is None:
            return steps[::-1]
        step = _step(graph, node, layout)
        if step is None:
            return steps[::-1]
        steps.append(step)
        tensor = next(t for t in nd.data_inputs(node) if graph.constant(t) is None)


def _step(graph: Graph, node: NodeDef, layout: Layout) -> ChannelOp | None:
    tensors = nd.data_inputs(node)
    fed = [index for index, tensor in enumerate(tensors) if graph.constant(tensor) is None]
    if len(fed) != 1 or graph.shape(tensors[fed[0]]) != graph.shape(f"{node.name}:0"):
        return None
    if node.op == "Identity":
        return ChannelOp(node, NOTHING, layout)
    for recognise in RECOGNISERS:
        step = recognise(graph, node, fed[0], layout)
        if isinstance(step, ChannelOp):
            return step
    return None


def _is_rescaling(steps: Sequence[ChannelOp]) -> bool:
    """Whether it is x · a + b with single numbers, as when images are normalised. A factor alone is not folded."""
    roles = {step.role for step in steps} - {NOTHING}
    return len(roles) > 1 and SHIFT in roles


def _affine(steps: Sequence[ChannelOp], channels: int) -> tuple[np.ndarray, np.ndarray]:
    scale, shift = np.ones(channels), np.zeros(channels)
    for step in steps:
        if step.scale is not None:
            scale, shift = scale * step.scale, shift * step.scale
        if step.shift is not None:
            shift = shift + step.shift
    return scale, shift


def _readers(graph: Graph, tensor: str) -> list[NodeDef | None]:
    """The layers that read a tensor as their data, directly or flattened; None for any other reader."""
    readers: list[NodeDef | None] = []
    for node, index in graph.consumers(tensor):
        reader: tuple[NodeDef, int] | None = (node, index)
        if _flattens(graph, node) and index == 0:
            reader = graph.only_consumer(node.name)
        readers.append(reader[0] if reader is not None and _reads_data(graph, *reader) else None)
    return readers


def _reads_data(graph: Graph, node: NodeDef, index: int) -> bool:
    """Whether an input is the data of a layer with weights, outside loops and branches."""
    kind = KINDS.get(node.op)
    is_data = kind is not None and kind.weight_input is not None and index == kind.data_inputs[0]
    return is_data and node.name not in graph.regions


def _refusal(
    graph: Graph, steps: Sequence[ChannelOp], readers: Sequence[NodeDef | None], skip: Collection[str]
) -> str | None:
    """Why the norm must not be folded into its readers, or None."""
    last = steps[-1].node
    if last.name in graph.output_nodes:
        return "it is an output of the model"
    layers = [reader for reader in readers if reader is not None]
    if len(layers) < len(readers):
        others = [
            node.name
            for (node, _), reader in zip(graph.consumers(f"{last.name}:0"), readers, strict=True)
            if not reader
        ]
        return f"it follows no layer, and {', '.join(map(repr, others))} behind it is none either"
    if graph.read_outputs(last.name) not in ((), (0,)):
        return "its statistics are read"
    for layer in layers:
        target = layer_target(graph, layer, skip)
        if not isinstance(target, FoldTarget):
            return f"{layer.name!r} ({layer.op}) behind it is left alone: {target}"
        if graph.computes_in_half:
            return f"{layer.name!r} ({layer.op}) behind it computes in float16"
    return SKIPPED if any(step.node.name in skip for step in steps) else None


def _inexact(graph: Graph, layers: Sequence[NodeDef], steps: Sequence[ChannelOp]) -> str | None:
    """Why folding would change the outputs, or cost the layers' integers accuracy."""
    scale, shift = _affine(steps, next(step.layout.channels for step in steps))
    sizes = np.abs(scale)
    if sizes.min() * MOST_APART < sizes.max():
        return f"its factors are too far apart to be in the weights: {sizes.min():.3g} and {sizes.max():.3g}"
    for layer in layers if shift.any() else ():
        if _pads(graph, layer):
            return f"{layer.name!r} ({layer.op}) behind it pads with zeros, to which the norm would not add"
    return None


def _pads(graph: Graph, layer: NodeDef) -> bool:
    """Whether any position of a layer's output may see padding."""
    padding = nd.attribute(layer, "padding")
    if KINDS[layer.op].transposed:
        return True
    if padding is None or padding == "VALID":
        return False
    if padding == "EXPLICIT":
        return any(nd.attribute(layer, "explicit_paddings") or [1])
    weights = KINDS[layer.op].weights
    index, reduced_axis = weights.input_index, weights.reduced_axis
    window = graph.require_constant(nd.data_inputs(layer)[index]).shape[:reduced_axis]
    return any(size != 1 for size in window)

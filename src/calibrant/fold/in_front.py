"""A norm in front of layers goes into their weights and biases, where that is exact.

W · (x · a + b) is (W · a) · x + W · b. Zeros that a convolution pads with stand behind the norm, so that with padding
only a norm without an addend can be folded. What comes in front of several layers goes into each of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tensorflow.core.framework.node_def_pb2 import NodeDef

from calibrant.fold import bias, decomposed_batch_norm, fused_norm, scalar
from calibrant.fold.channel_op import NORM, NOTHING, SCALE, SHIFT, ChannelOp
from calibrant.fold.constant_operand import FACTORS
from calibrant.fold.fused_norm import FUSED_NORMS
from calibrant.fold.layout import Layout, layout_for
from calibrant.fold.result import Fusion, NotFused
from calibrant.fold.target import SKIPPED, FoldTarget, dtype_of, layer_head
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.layer_kinds import ADDITIONS, KINDS

RECOGNISERS = (fused_norm.recognise, scalar.recognise, decomposed_batch_norm.recognise, bias.recognise)
SHIFTS = ADDITIONS | {"Sub", "BiasAdd", "Identity"}
MOST_STEPS = 16
MOST_APART = 256
"""How far apart the factors of two channels may be: further, and eight bits for all channels hold nothing of one."""


@dataclass(frozen=True)
class NormInFront:
    """A norm and the layers that read nothing else.

    Parameters
    ----------
    steps : the nodes of the norm in the order of the data.
    layers : the layers that read the last of them.
    source : the tensor that the first of them reads.
    scale, shift : float64 [channels]; what the steps multiply with and add.
    layout : of the tensor.
    """

    steps: tuple[ChannelOp, ...]
    layers: tuple[NodeDef, ...]
    source: str
    scale: np.ndarray
    shift: np.ndarray
    layout: Layout


def norms_in_front(graph: Graph, skip: Collection[str]) -> Iterator[NormInFront | NotFused]:
    """Every norm of which all readers are layers; Left where it cannot be folded."""
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
        steps = () if layout is None else tuple(_steps(graph, tensor, layout))
        if not any(step.role in (NORM, SCALE) for step in steps) and not _is_rescaling(steps):
            continue
        readers = _readers(graph, tensor)
        reason = _why_not(graph, steps, readers, skip) or _inexact(graph, readers, tensor, steps)
        if reason is not None:
            yield from (NotFused(step.node.name, reason) for step in steps)
            continue
        scale, shift = _affine(steps, layout.channels)
        source = next(t for t in nd.data_inputs(steps[0].node) if graph.constant(t) is None)
        yield NormInFront(
            steps, tuple(reader for reader in readers if reader is not None), source, scale, shift, layout
        )


def fold_in_front(edit: Edit, norm: NormInFront, moved: dict[str, str]) -> tuple[tuple[Fusion, ...], NotFused | None]:
    """Let the layers read what the norm reads; the fusions, or why the new numbers do not fit.

    A layer that is an output of the graph may get a bias; then ``moved`` says which tensor is the output instead.
    """
    graph = edit.graph
    changed = [(layer, *_changed(graph, layer, norm)) for layer in norm.layers]
    last = norm.steps[-1].node
    for layer, weights, addend in changed:
        if not (np.isfinite(weights).all() and np.isfinite(addend).all()):
            return (), NotFused(last.name, f"the folded numbers do not fit {dtype_of(layer).name}")
    for layer, weights, addend in changed:
        kind = KINDS[layer.op]
        edit.set_input(layer.name, kind.weight_input, edit.add_constant(f"{layer.name}/weights_folded", weights))
        if addend.any():
            _add(edit, layer, addend, moved)
    for reader, index in graph.consumers(f"{last.name}:0"):
        edit.set_input(reader.name, index, norm.source)
    absorbed = tuple(step.node.name for step in norm.steps)
    return tuple(Fusion("batch norm in front", layer.name, absorbed, in_front=True) for layer in norm.layers), None


def _read_norm(graph: Graph, layer: NodeDef) -> str:
    """What a layer reads; for a dense layer behind a flattening Reshape what that reads."""
    tensor = nd.data_inputs(layer)[KINDS[layer.op].data_inputs[0]]
    node = graph.producer(tensor)
    return nd.data_inputs(node)[0] if layer.op == "MatMul" and _flattens(graph, node) else tensor


def _may_be_norm(graph: Graph, tensor: str) -> bool:
    """Whether there is a factor among the operations with constants in front of a tensor; asks for no shapes."""
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
    if before is None or after is None or len(after) != 2 or None in before[1:]:
        return False
    return after[1] == int(np.prod(before[1:], dtype=int))


def _input_layout(graph: Graph, layer: NodeDef, tensor: str) -> Layout | None:
    shape = graph.shape(tensor)
    if shape is None or len(shape) < 2:
        return None
    kind = KINDS[layer.op]
    if not kind.spatial:
        candidates = [Layout(len(shape), -1, shape[-1])]
        if len(shape) > 2 and kind.rank == 2:
            candidates.append(Layout(len(shape), 1 - len(shape), shape[1]))
    else:
        found = layout_for(nd.attribute(layer, "data_format"), kind.rank, 0)
        candidates = [Layout(kind.rank, found.axis, shape[found.axis])] if found and len(shape) == kind.rank else []
    known = [layout for layout in candidates if layout.channels]
    return max(known, key=lambda layout: len(list(_steps(graph, tensor, layout))), default=None)


def _steps(graph: Graph, tensor: str, layout: Layout) -> Sequence[ChannelOp]:
    """The nodes in front of a tensor that multiply channels or add to them, in the order of the data."""
    found: list[ChannelOp] = []
    while True:
        node = graph.producer(tensor)
        if node.name in graph.input_nodes or nd.split_tensor(tensor)[1] != 0 or nd.control_inputs(node):
            return found[::-1]
        if found and graph.only_consumer(node.name) is None:
            return found[::-1]
        step = _step(graph, node, layout)
        if step is None:
            return found[::-1]
        found.append(step)
        tensor = next(t for t in nd.data_inputs(node) if graph.constant(t) is None)


def _step(graph: Graph, node: NodeDef, layout: Layout) -> ChannelOp | None:
    tensors = nd.data_inputs(node)
    fed = [index for index, tensor in enumerate(tensors) if graph.constant(tensor) is None]
    if len(fed) != 1 or graph.shape(tensors[fed[0]]) != graph.shape(f"{node.name}:0"):
        return None
    if node.op == "Identity":
        return ChannelOp(node, NOTHING, layout)
    for recognise in RECOGNISERS:
        found = recognise(graph, node, fed[0], layout)
        if isinstance(found, ChannelOp):
            return found
    return None


def _is_rescaling(steps: Sequence[ChannelOp]) -> bool:
    """Whether it is x · a + b with single numbers, as the preparation of images. A factor alone stays where it is."""
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
    found: list[NodeDef | None] = []
    for node, index in graph.consumers(tensor):
        reader: tuple[NodeDef, int] | None = (node, index)
        if _flattens(graph, node) and index == 0:
            reader = graph.only_consumer(node.name)
        kind = KINDS.get(reader[0].op) if reader is not None else None
        is_layer = kind is not None and kind.weight_input is not None and reader[1] == kind.data_inputs[0]
        found.append(reader[0] if is_layer and reader[0].name not in graph.regions else None)
    return found


def _why_not(
    graph: Graph, steps: Sequence[ChannelOp], readers: Sequence[NodeDef | None], skip: Collection[str]
) -> str | None:
    last = steps[-1].node
    if last.name in graph.output_nodes:
        return "it is an output of the model"
    if None in readers:
        others = [
            node.name
            for (node, _), reader in zip(graph.consumers(f"{last.name}:0"), readers, strict=True)
            if not reader
        ]
        return f"it follows no layer, and {', '.join(map(repr, others))} behind it is none either"
    if graph.read_outputs(last.name) not in ((), (0,)):
        return "its statistics are read"
    for reader in readers:
        target = layer_head(graph, reader, skip)
        if not isinstance(target, FoldTarget):
            return f"{reader.name!r} ({reader.op}) behind it is left alone: {target}"
        if graph.computes_in_half:
            return f"{reader.name!r} ({reader.op}) behind it computes in float16"
    return SKIPPED if any(step.node.name in skip for step in steps) else None


def _inexact(graph: Graph, readers: Sequence[NodeDef], tensor: str, steps: Sequence[ChannelOp]) -> str | None:
    """Why folding would change the outputs, or spoil the layer's integers."""
    scale, shift = _affine(steps, next(step.layout.channels for step in steps))
    sizes = np.abs(scale)
    if sizes.min() * MOST_APART < sizes.max():
        return f"its factors are too far apart to be in the weights: {sizes.min():.3g} and {sizes.max():.3g}"
    for reader in readers if shift.any() else ():
        if _pads(graph, reader):
            return f"{reader.name!r} ({reader.op}) behind it pads with zeros, to which the norm would not add"
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
    kind = KINDS[layer.op]
    window = graph.constant(nd.data_inputs(layer)[kind.weight_input]).shape[: kind.reduced_axis]
    return any(size != 1 for size in window)


def _changed(graph: Graph, layer: NodeDef, norm: NormInFront) -> tuple[np.ndarray, np.ndarray]:
    """New weights, and what is added to each output channel; both in the layer's type."""
    kind = KINDS[layer.op]
    weights = graph.constant(nd.data_inputs(layer)[kind.weight_input])
    axis = kind.reduced_axis
    rows = weights.shape[axis]
    factors, addends = _by_row(graph, layer, norm, rows)
    if kind.transposed:
        factors, addends = factors[:, :1].T, addends[:, :1].T
    elif factors.shape[1] > 1:  # a convolution in groups: each has its own part of the input
        outputs = weights.shape[-1] // factors.shape[1]
        factors, addends = (np.repeat(values, outputs, axis=1) for values in (factors, addends))
    exact = weights.astype(np.float64)
    with np.errstate(over="ignore"):
        scaled = (exact * factors).astype(weights.dtype)
        summed = (exact * addends).sum(axis=tuple(range(axis)))
        addend = summed.reshape(-1) if len(kind.channel_axes) == 2 else summed.sum(axis=0)
        return scaled, addend.astype(dtype_of(layer).as_numpy_dtype)


def _by_row(graph: Graph, layer: NodeDef, norm: NormInFront, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift by input channel of the weights and group, [rows, groups]; by input of a dense layer."""
    values = np.stack([norm.scale, norm.shift])
    if layer.op == "MatMul" and rows != norm.layout.channels:
        shape = graph.shape(f"{norm.steps[-1].node.name}:0")[1:]
        spread = values.reshape(2, *[-1 if axis == norm.layout.axis else 1 for axis in range(-len(shape), 0)])
        values = np.broadcast_to(spread, (2, *shape)).reshape(2, rows)
    grouped = values.reshape(2, -1, rows)
    return grouped[0].T, grouped[1].T


def _add(edit: Edit, layer: NodeDef, addend: np.ndarray, moved: dict[str, str]) -> None:
    """Add to a layer's bias; give it one where it has none."""
    graph = edit.graph
    reader = graph.only_consumer(layer.name)
    known = None if reader is None or reader[0].op != "BiasAdd" else graph.constant(nd.data_inputs(reader[0])[1])
    if known is not None and reader[1] == 0:
        edit.set_input(reader[0].name, 1, edit.add_constant(f"{layer.name}/bias_folded", known + addend))
        return
    values = edit.add_constant(f"{layer.name}/bias_folded", addend)
    first = nd.attribute(layer, "data_format") in ("NCHW", "NCDHW")
    attributes = {"T": dtype_of(layer), "data_format": "NCHW" if first else "NHWC"}
    added = edit.add("BiasAdd", f"{layer.name}/bias", [f"{layer.name}:0", values], **attributes)
    moved[f"{layer.name}:0"] = added
    for node, index in graph.consumers(f"{layer.name}:0"):
        edit.set_input(node.name, index, added)

"""Fusion 4: operations after a concatenation of layers' outputs; each layer absorbs its part.

A group convolution of TensorFlow 1.x is one example: Split, several convolutions, a concatenation of their channels.
Other tensors in the concatenation get their part of a norm as a Mul and an AddV2 of their own.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from calibrant.fold.constant_operand import addend
from calibrant.fold.layout import Layout
from calibrant.fold.target import SKIPPED, FoldTarget, LayerBranch, TensorBranch, dtype_of, layer_target
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef

SPLITS = frozenset({"Split", "SplitV"})


def group_target(graph: Graph, node: NodeDef, skip: Collection[str]) -> FoldTarget | str | None:
    """A concatenation of channels, of which at least one operand is a layer (+ BiasAdd) without other readers."""
    if node.op not in ("ConcatV2", "Concat"):
        return None
    inputs = nd.data_inputs(node)
    values, axis = (inputs[:-1], inputs[-1]) if node.op == "ConcatV2" else (inputs[1:], inputs[0])
    targets = [_layer(graph, tensor, skip) for tensor in values]
    layers = [target for target in targets if isinstance(target, FoldTarget)]
    if SKIPPED in targets:
        return SKIPPED
    layouts = {replace(target.layout, channels=0) for target in layers}
    position = graph.constant(axis)
    if len(layouts) != 1 or {dtype_of(target.end) for target in layers} != {dtype_of(node)} or position is None:
        return None
    layout = layouts.pop()
    if layout.rank is None or position.item() % layout.rank != layout.rank + layout.axis:
        return None
    operands = [
        target.branches[0] if isinstance(target, FoldTarget) else _tensor_branch(graph, tensor, layout)
        for target, tensor in zip(targets, values, strict=True)
    ]
    branches = tuple(branch for branch in operands if branch is not None)
    if len(branches) < len(operands):
        return None
    convolutions = [branch.layer for branch in branches if isinstance(branch, LayerBranch)]
    splits = {nd.node_name(nd.data_inputs(layer)[0]) for layer in convolutions}
    is_group = len(layers) == len(values) and len(splits) == 1 and graph.nodes[splits.pop()].op in SPLITS
    remark = "of a group convolution" if is_group else "behind a concatenation"
    channels = sum(branch.channels for branch in branches)
    return FoldTarget(branches, node, replace(layout, channels=channels), remark)


def _layer(graph: Graph, tensor: str, skip: Collection[str]) -> FoldTarget | str | None:
    end = graph.producer(tensor)
    layer = graph.producer(nd.data_inputs(end)[0]) if end.op == "BiasAdd" else end
    target = layer_target(graph, layer, skip)
    if not isinstance(target, FoldTarget):
        return target if target == SKIPPED else None
    if any(graph.only_consumer(node.name) is None for node in {layer.name: layer, end.name: end}.values()):
        return None
    if end is layer:
        return target
    bias = addend(graph, end, 0, target.layout)
    branch = target.branches[0]
    if bias is None or not isinstance(branch, LayerBranch):
        return None
    return replace(target, branches=(replace(branch, end=end, bias=bias),))


def _tensor_branch(graph: Graph, tensor: str, layout: Layout) -> TensorBranch | None:
    shape = graph.shape(tensor)
    channels = shape[layout.axis] if shape is not None and len(shape) == layout.rank else None
    return TensorBranch(tensor, graph.producer(tensor), channels) if channels else None

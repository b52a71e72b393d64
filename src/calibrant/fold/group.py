"""Fusion 4: a concatenation of what layers make, which stands for them: each takes its part of what follows.

A group convolution of TensorFlow 1.x is one: Split, several convolutions, a concatenation of their channels. What is
concatenated beside layers has its part of a norm as a Mul and an AddV2 of its own.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from tensorflow.core.framework.node_def_pb2 import NodeDef

from calibrant.fold.constant_operand import addend
from calibrant.fold.layout import Layout
from calibrant.fold.target import SKIPPED, Branch, FoldTarget, dtype_of, layer_head
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph

SPLITS = frozenset({"Split", "SplitV"})


def group_head(graph: Graph, node: NodeDef, skip: Collection[str]) -> FoldTarget | str | None:
    """A concatenation of channels, at least one operand of which is a layer (+ BiasAdd) that it alone reads."""
    if node.op not in ("ConcatV2", "Concat"):
        return None
    inputs = nd.data_inputs(node)
    values, axis = (inputs[:-1], inputs[-1]) if node.op == "ConcatV2" else (inputs[1:], inputs[0])
    heads = [_layer(graph, tensor, skip) for tensor in values]
    layers = [target for target in heads if isinstance(target, FoldTarget)]
    if SKIPPED in heads:
        return SKIPPED
    layouts = {replace(target.layout, channels=0) for target in layers}
    position = graph.constant(axis)
    if len(layouts) != 1 or {dtype_of(target.end) for target in layers} != {dtype_of(node)} or position is None:
        return None
    layout = layouts.pop()
    if layout.rank is None or position.item() % layout.rank != layout.rank + layout.axis:
        return None
    branches = [
        target.branches[0] if isinstance(target, FoldTarget) else _other(graph, tensor, layout)
        for target, tensor in zip(heads, values, strict=True)
    ]
    if None in branches:
        return None
    splits = {nd.node_name(nd.data_inputs(target.branches[0].layer)[0]) for target in layers}
    is_group = len(layers) == len(values) and len(splits) == 1 and graph.nodes[splits.pop()].op in SPLITS
    remark = "of a group convolution" if is_group else "behind a concatenation"
    channels = sum(branch.channels for branch in branches)
    return FoldTarget(tuple(branches), node, replace(layout, channels=channels), remark)


def _layer(graph: Graph, tensor: str, skip: Collection[str]) -> FoldTarget | str | None:
    end = graph.producer(tensor)
    layer = graph.producer(nd.data_inputs(end)[0]) if end.op == "BiasAdd" else end
    target = layer_head(graph, layer, skip)
    if not isinstance(target, FoldTarget):
        return target if target == SKIPPED else None
    if any(graph.only_consumer(node.name) is None for node in {layer.name: layer, end.name: end}.values()):
        return None
    if end is layer:
        return target
    bias = addend(graph, end, 0, target.layout)
    return None if bias is None else replace(target, branches=(replace(target.branches[0], end=end, bias=bias),))


def _other(graph: Graph, tensor: str, layout: Layout) -> Branch | None:
    shape = graph.shape(tensor)
    if shape is None or len(shape) != layout.rank or not shape[layout.axis]:
        return None
    return Branch(None, graph.producer(tensor), None, (), shape[layout.axis], tensor=tensor)

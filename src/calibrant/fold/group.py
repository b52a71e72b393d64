"""Fusion 4: Split, several convolutions and a concatenation of their channels – the group convolution of TF 1.x."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from tensorflow.core.framework.node_def_pb2 import NodeDef

from calibrant.fold.constant_operand import addend
from calibrant.fold.target import SKIPPED, FoldTarget, dtype_of, layer_head
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph

SPLITS = frozenset({"Split", "SplitV"})
CONVOLUTIONS = frozenset({"Conv2D", "Conv3D", "DepthwiseConv2dNative"})


def group_head(graph: Graph, node: NodeDef, skip: Collection[str]) -> FoldTarget | str | None:
    """A ConcatV2 or Concat on the channel axis that reads nothing but convolutions (+ BiasAdd) of one Split."""
    if node.op not in ("ConcatV2", "Concat"):
        return None
    inputs = nd.data_inputs(node)
    values, axis = (inputs[:-1], inputs[-1]) if node.op == "ConcatV2" else (inputs[1:], inputs[0])
    heads = [_branch(graph, tensor, skip) for tensor in values]
    if any(target is None for target in heads):
        return None
    if SKIPPED in heads:
        return SKIPPED
    splits = {nd.node_name(nd.data_inputs(target.branches[0].layer)[0]) for target in heads}
    layouts = {replace(target.layout, channels=0) for target in heads}
    types = {dtype_of(target.end) for target in heads}
    position = graph.constant(axis)
    if len(splits) != 1 or graph.nodes[splits.pop()].op not in SPLITS:
        return None
    if len(layouts) != 1 or len(types) != 1 or position is None:
        return None
    layout = replace(layouts.pop(), channels=sum(target.layout.channels for target in heads))
    if position.item() % layout.rank != layout.rank + layout.axis:
        return None
    return FoldTarget(
        tuple(branch for target in heads for branch in target.branches), node, layout, "of a group convolution"
    )


def _branch(graph: Graph, tensor: str, skip: Collection[str]) -> FoldTarget | str | None:
    end = graph.producer(tensor)
    layer = graph.producer(nd.data_inputs(end)[0]) if end.op == "BiasAdd" else end
    if layer.op not in CONVOLUTIONS or nd.split_tensor(tensor)[1] != 0:
        return None
    if any(graph.only_consumer(node.name) is None for node in {layer.name: layer, end.name: end}.values()):
        return None
    target = layer_head(graph, layer, skip)
    if target is None or isinstance(target, str):
        return target if target == SKIPPED else None
    if end is layer:
        return target
    bias = addend(graph, end, 0, target.layout)
    return None if bias is None else replace(target, branches=(replace(target.branches[0], end=end, bias=bias),))

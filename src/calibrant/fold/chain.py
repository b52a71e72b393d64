"""Everything behind a layer that the layer can take in, and how far that goes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tensorflow.core.framework.node_def_pb2 import NodeDef

from calibrant.fold import decomposed_batch_norm
from calibrant.fold.channel_op import NORM, NOTHING, SCALAR, SHIFT, STAYS, ChannelOp
from calibrant.fold.fused_norm import FUSED_NORMS
from calibrant.fold.layout import Layout
from calibrant.fold.result import NotFused
from calibrant.fold.target import SKIPPED, FoldTarget
from calibrant.graph.graph import Graph

Recogniser = Callable[[Graph, NodeDef, int, Layout], ChannelOp | str | None]


@dataclass(frozen=True)
class Group:
    """Steps that are one operation to a person: a norm and the BiasAdd in front of it, a multiplication, a bias."""

    kind: str
    steps: tuple[ChannelOp, ...]


@dataclass(frozen=True)
class FoldChain:
    """A head and what can be folded into it.

    Parameters
    ----------
    head : the layer or group convolution.
    groups : in the order of the data; empty where nothing can be folded.
    obstacle : a norm right behind that cannot be folded, and why.
    stop : name of the node behind the last step, where that is the only reader; else "".
    """

    target: FoldTarget
    groups: tuple[Group, ...]
    obstacle: NotFused | None = None
    stop: str = ""

    @property
    def steps(self) -> tuple[ChannelOp, ...]:
        """All steps, those that stay in the graph included."""
        return tuple(step for group in self.groups for step in group.steps)

    @property
    def is_partial(self) -> bool:
        """Whether only a part of it can be folded, so that everything else is to be folded before."""
        return self.target.is_partial

    @property
    def bias_in_front(self) -> bool:
        """Whether what is added has to be added right behind each layer."""
        return len(self.target.branches) > 1 or any(step.bias_in_front for step in self.steps)

    @property
    def remark(self) -> str:
        """The structure around the layer, to be read after the kind of a fusion."""
        found = (self.target.remark, *(step.remark for step in self.steps))
        return " ".join(dict.fromkeys(remark for remark in found if remark))

    def affine(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Factor and addend of each channel, float64 [channels]; no addend where nothing on the way adds anything."""
        scale = np.ones(self.target.layout.channels)
        shift = None
        if any(branch.bias is not None for branch in self.target.branches):
            shift = np.concatenate(
                [np.zeros(branch.channels) if branch.bias is None else branch.bias for branch in self.target.branches]
            )
        for step in self.steps:
            if step.scale is not None:
                scale = scale * step.scale
                shift = None if shift is None else shift * step.scale
            if step.shift is not None:
                shift = step.shift if shift is None else shift + step.shift
        return scale, shift


def follow(graph: Graph, target: FoldTarget, recognisers: Sequence[Recogniser], skip: Collection[str]) -> FoldChain:
    """The longest chain behind a head in which every node is the only reader of the one before it."""
    steps: list[ChannelOp] = []
    position, layout = target.end.name, target.layout
    obstacle, stop = None, ""
    while (reader := graph.only_consumer(position)) is not None:
        node, index = reader
        found = _recognise(graph, node, index, layout, recognisers)
        if isinstance(found, str):
            obstacle = NotFused(node.name, found)
        if not isinstance(found, ChannelOp):
            stop = node.name
            break
        steps.append(found)
        position, layout = node.name, found.layout
    else:
        obstacle = _shared(graph, position)
    groups = tuple(_groups(steps, has_bias=any(branch.bias is not None for branch in target.branches)))
    if target.is_partial:
        while groups and "norm" not in groups[-1].kind:
            groups = groups[:-1]
    for number, group in enumerate(groups):
        named = [step.node.name for step in group.steps if step.node.name in skip]
        if named:
            return FoldChain(target, groups[:number], NotFused(named[0], SKIPPED), stop)
    return FoldChain(target, groups, obstacle, stop)


def _recognise(
    graph: Graph, node: NodeDef, index: int, layout: Layout, recognisers: Sequence[Recogniser]
) -> ChannelOp | str | None:
    if node.op == "Identity":
        return ChannelOp(node, NOTHING, layout)
    for recognise in recognisers:
        found = recognise(graph, node, index, layout)
        if found is not None:
            return found
    return None


def _groups(steps: Sequence[ChannelOp], has_bias: bool) -> Iterator[Group]:
    """Cut the steps into operations; what follows the last of them is left out."""
    pending: list[ChannelOp] = []
    for position, step in enumerate(steps):
        pending.append(step)
        following = steps[position + 1] if position + 1 < len(steps) else None
        if step.role in (NOTHING, STAYS) or decomposed_batch_norm.goes_on(pending, following):
            continue
        if step.role == SHIFT and step.node.op == "BiasAdd" and not has_bias:
            has_bias = True
            if all(before.role in (NOTHING, STAYS) for before in pending[:-1]):
                continue
        yield Group(_kind(pending), tuple(pending))
        has_bias, pending = True, []


def _kind(steps: Sequence[ChannelOp]) -> str:
    last = steps[-1]
    if last.role == NORM:
        return "batch norm"
    if last.role == SCALAR:
        return "scalar multiplication"
    if last.role == SHIFT and not any(step.role == decomposed_batch_norm.SCALE for step in steps):
        return "bias"
    return "written-out batch norm"


def _shared(graph: Graph, name: str) -> NotFused | None:
    """The norm among the readers of a node that has other readers too, or is a result."""
    readers = [node for node, _ in graph.consumers(f"{name}:0")]
    norms = [node for node in readers if node.op in FUSED_NORMS or decomposed_batch_norm.looks_like_norm(graph, node)]
    if not norms:
        return None
    others = [node.name for node in readers if node is not norms[0]]
    if name in graph.output_nodes:
        return NotFused(norms[0].name, f"{name!r} in front of it is an output of the model")
    if others:
        return NotFused(norms[0].name, f"{name!r} in front of it is also read by {', '.join(map(repr, others))}")
    return NotFused(norms[0].name, f"another operation waits for {name!r} in front of it")

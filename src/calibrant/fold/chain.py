"""The nodes after a layer that can be folded into it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from calibrant.fold import decomposed_batch_norm
from calibrant.fold.channel_op import NORM, NOTHING, SCALAR, SHIFT, STAYS, ChannelOp
from calibrant.fold.layout import Layout
from calibrant.fold.result import NotFused
from calibrant.fold.target import SKIPPED, FoldTarget, LayerBranch
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef
from calibrant.layer_kinds import FUSED_NORMS

Recogniser = Callable[[Graph, NodeDef, int, Layout], ChannelOp | str | None]


@dataclass(frozen=True)
class Group:
    """Steps that users see as one operation: a norm with the BiasAdd before it, a multiplication, a bias."""

    kind: str
    steps: tuple[ChannelOp, ...]


@dataclass(frozen=True)
class FoldChain:
    """A layer or group convolution, and what can be folded into it.

    Parameters
    ----------
    target : FoldTarget
        The layer or group convolution.
    groups : tuple[Group, ...]
        In the order of the data; empty if nothing can be folded.
    obstacle : NotFused | None
        The next norm, if it cannot be folded, and why.
    stop : str
        Name of the node after the last step, if it is the only reader; else "".
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
        """Whether only a part of it can be folded; then it comes after all other chains."""
        return self.target.is_partial

    @property
    def bias_before(self) -> bool:
        """Whether the bias is added before the end: directly after each layer, where it goes into its integers."""
        return len(self.target.branches) > 1 or any(step.role == STAYS for step in self.steps)

    @property
    def remark(self) -> str:
        """The structure around the layer; follows the kind in the name of a fusion."""
        remarks = (self.target.remark, *(step.remark for step in self.steps))
        return " ".join(dict.fromkeys(remark for remark in remarks if remark))

    def affine(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Factor and addend of each channel, float64 [channels]; None if nothing is added."""
        scale = np.ones(self.target.layout.channels)
        shift = None
        if self.target.has_bias:
            biases = [branch.bias if isinstance(branch, LayerBranch) else None for branch in self.target.branches]
            channels = [branch.channels for branch in self.target.branches]
            shift = np.concatenate(
                [np.zeros(count) if bias is None else bias for bias, count in zip(biases, channels, strict=True)]
            )
        for step in self.steps:
            if step.scale is not None:
                scale = scale * step.scale
                shift = None if shift is None else shift * step.scale
            if step.shift is not None:
                shift = step.shift if shift is None else shift + step.shift
        return scale, shift


def follow(graph: Graph, target: FoldTarget, recognisers: Sequence[Recogniser], skip: Collection[str]) -> FoldChain:
    """The longest chain after a target in which every node is the only reader of the previous one."""
    steps: list[ChannelOp] = []
    position, layout = target.end.name, target.layout
    obstacle: NotFused | None = None
    stop = ""
    while (reader := graph.only_consumer(position)) is not None:
        node, index = reader
        step = _recognise(graph, node, index, layout, recognisers)
        if isinstance(step, str):
            obstacle = NotFused(node.name, step)
        if not isinstance(step, ChannelOp):
            stop = node.name
            break
        steps.append(step)
        position, layout = node.name, step.layout
    else:
        obstacle = _shared(graph, position)
    groups = tuple(_groups(steps, target.has_bias))
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
        step = recognise(graph, node, index, layout)
        if step is not None:
            return step
    return None


def _groups(steps: Sequence[ChannelOp], has_bias: bool) -> Iterator[Group]:
    """Split the steps into operations; steps after the last operation are left out."""
    pending: list[ChannelOp] = []
    for position, step in enumerate(steps):
        pending.append(step)
        following = steps[position + 1] if position + 1 < len(steps) else None
        if step.role in (NOTHING, STAYS) or decomposed_batch_norm.continues(pending, following):
            continue
        if step.role == SHIFT and step.node.op == "BiasAdd" and not has_bias:
            has_bias = True
            if all(before.role in (NOTHING, STAYS) for before in pending[:-1]):
                continue
        yield Group(_kind(pending), tuple(pending))
        has_bias, pending = True, []
    bias = next((position for position, step in enumerate(pending) if step.role == SHIFT), 0)
    if bias:  # it is not directly behind the layer
        yield Group("bias", tuple(pending[: bias + 1]))


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
    """The norm that reads a node, if the node has other readers too or is an output of the model."""
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

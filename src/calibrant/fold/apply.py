"""Rewriting the graph: factors go into the weights, everything that is added becomes one BiasAdd at the end."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from tensorflow.core.framework.node_def_pb2 import NodeDef

from calibrant.fold.chain import FoldChain
from calibrant.fold.channel_op import STAYS, ChannelOp
from calibrant.fold.result import Fusion, NotFused
from calibrant.fold.target import Branch, dtype_of
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph


def apply(edit: Edit, chain: FoldChain) -> tuple[tuple[Fusion, ...], NotFused | None]:
    """Fold a chain. The last node taken in keeps its name: it becomes the BiasAdd, or vanishes where nothing is added.

    Returns the fusions, or the reason why the folded numbers do not fit the layer's type.
    """
    graph = edit.graph
    scale, shift = chain.affine()
    end = chain.steps[-1]
    dtype = dtype_of(chain.target.end)
    weights = list(_scaled_weights(graph, chain, scale))
    bias = None if shift is None else _cast(shift, dtype.as_numpy_dtype)
    if not all(np.isfinite(values).all() for values in (*weights, bias) if values is not None):
        return (), NotFused(end.node.name, f"the folded numbers do not fit {dtype.name}")
    for branch, values in zip(chain.target.branches, weights, strict=True):
        if values is not None:
            _set_weights(edit, branch, values)
    tensor = _bypass(edit, chain)
    controls = _controls(step.node for step in chain.steps if step.role != STAYS)
    if bias is not None:
        constant = _constant(edit, f"{chain.target.end.name}/bias_folded", bias, chain.target.branches[0])
        attributes = {"T": dtype, "data_format": end.layout.bias_format}
        edit.put(nd.make_node("BiasAdd", end.node.name, [tensor, constant, *controls], **attributes))
    elif (reader := graph.only_consumer(end.node.name)) is not None and not controls:
        edit.set_input(reader[0].name, reader[1], tensor)
    else:
        edit.put(nd.make_node("Identity", end.node.name, [tensor, *controls], T=dtype))
    return tuple(_fusions(chain)), None


def _scaled_weights(graph: Graph, chain: FoldChain, scale: np.ndarray) -> Iterable[np.ndarray | None]:
    start = 0
    for branch in chain.target.branches:
        factors = scale[start : start + branch.channels]
        start += branch.channels
        if (factors == 1).all():
            yield None
            continue
        weights = graph.constant(nd.data_inputs(branch.layer)[branch.weight_input])
        shape = [size if axis in branch.weight_axes else 1 for axis, size in enumerate(weights.shape)]
        with np.errstate(over="ignore"):
            scaled = weights * factors.astype(np.float32).reshape(shape)
        yield _cast(scaled, weights.dtype)


def _cast(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    with np.errstate(over="ignore"):
        return values.astype(dtype, copy=False)


def _set_weights(edit: Edit, branch: Branch, values: np.ndarray) -> None:
    name = branch.layer.name
    edit.set_input(name, branch.weight_input, _constant(edit, f"{name}/weights_folded", values, branch))


def _constant(edit: Edit, name: str, values: np.ndarray, branch: Branch) -> str:
    """A constant in the loop frame of the layer: it waits for what the original weights wait for."""
    node = nd.constant_node(edit.free_name(name), values)
    source = edit.graph.constant_source(nd.data_inputs(branch.layer)[branch.weight_input])
    if source is not None:
        node.input.extend(f"^{control}" for control in nd.control_inputs(edit.graph.nodes[source]))
    return edit.put(node)


def _bypass(edit: Edit, chain: FoldChain) -> str:
    """Let each node that stays read the one that stays before it; the tensor that the last of them makes."""
    for index, branch in enumerate(chain.target.branches):
        if branch.end is not branch.layer:
            first = 1 if chain.target.end.op == "Concat" else 0
            edit.set_input(chain.target.end.name, first + index, f"{branch.layer.name}:0")
    tensor = f"{chain.target.end.name}:0"
    for step in chain.steps:
        if step.role == STAYS:
            edit.set_input(step.node.name, 0, tensor)
            tensor = f"{step.node.name}:0"
    return tensor


def _controls(nodes: Iterable[NodeDef]) -> tuple[str, ...]:
    return tuple(f"^{name}" for name in dict.fromkeys(control for node in nodes for control in nd.control_inputs(node)))


def _fusions(chain: FoldChain) -> Iterable[Fusion]:
    for number, group in enumerate(chain.groups):
        absorbed = [step.node.name for step in group.steps if step.role != STAYS]
        for branch in chain.target.branches:
            inner = [branch.end.name] if number == 0 and branch.end is not branch.layer else []
            yield Fusion(f"{group.kind} {chain.remark}".rstrip(), branch.layer.name, (*inner, *absorbed))


def taken_in(steps: Iterable[ChannelOp]) -> frozenset[str]:
    """Names of the nodes that a fusion replaces."""
    return frozenset(step.node.name for step in steps if step.role != STAYS)

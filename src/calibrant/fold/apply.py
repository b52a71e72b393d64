"""Rewrite the graph: factors go into the weights, all addends become one BiasAdd at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from calibrant.fold.chain import FoldChain
from calibrant.fold.channel_op import STAYS, ChannelOp
from calibrant.fold.layout import Layout
from calibrant.fold.result import Fusion, NotFused
from calibrant.fold.target import LayerBranch, dtype_of
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.tf_core import NodeDef, dtypes


def apply(edit: Edit, chain: FoldChain) -> tuple[tuple[Fusion, ...], NotFused | None]:
    """Fold a chain. The last absorbed node keeps its name: it becomes the BiasAdd, or goes if nothing is added.

    Returns
    -------
    tuple[tuple[Fusion, ...], NotFused | None]
        The fusions; or none, and the reason why the folded numbers do not fit the layer's type.
    """
    graph = edit.graph
    scale, shift = chain.affine()
    end = chain.steps[-1]
    dtype = dtype_of(chain.target.end)
    exact = list(_scaled_weights(graph, chain, scale))
    weights = [None if values is None else _cast(values, dtype.as_numpy_dtype) for values in exact]
    bias = None if shift is None else _cast(shift, dtype.as_numpy_dtype)
    if not all(np.isfinite(values).all() for values in (*weights, bias) if values is not None):
        return (), NotFused(end.node.name, f"the folded numbers do not fit {dtype.name}")
    pairs = zip(weights, exact, strict=True)
    if not all(_is_close(cast, values) for cast, values in pairs if cast is not None and values is not None):
        return (), NotFused(end.node.name, f"the folded weights are too small for {dtype.name}")
    for branch, values in zip(chain.target.branches, weights, strict=True):
        if values is not None and isinstance(branch, LayerBranch):
            _set_weights(edit, branch, values)
    branch = chain.target.branches[0]
    if chain.bias_before or not isinstance(branch, LayerBranch):
        ends, bias = list(_ends_of_branches(edit, chain, scale, bias)), None
    else:
        ends = [f"{branch.layer.name}:0"]
    tensor = _bypass(edit, chain, ends)
    controls = _controls(step.node for step in chain.steps if step.role != STAYS)
    if bias is not None and isinstance(branch, LayerBranch):
        edit.put(_bias_add(edit, end.node.name, tensor, bias, branch, end.layout, controls))
    elif (reader := graph.only_consumer(end.node.name)) is not None and not controls:
        edit.set_input(reader[0].name, reader[1], tensor)
    else:
        kind = graph.dtype(f"{end.node.name}:0")
        edit.put(nd.make_node("Identity", end.node.name, [tensor, *controls], T=kind))
    return tuple(_fusions(chain)), None


def _ends_of_branches(edit: Edit, chain: FoldChain, scale: np.ndarray, bias: np.ndarray | None) -> Iterator[str]:
    """The tensors that the chain continues from: layers with their part of the bias, others with that of the norm."""
    layout, dtype, start = chain.target.layout, dtype_of(chain.target.end), 0
    for branch in chain.target.branches:
        part = slice(start, start + branch.channels)
        start += branch.channels
        if isinstance(branch, LayerBranch):
            tensor = f"{branch.layer.name}:0"
            if bias is not None:
                name = edit.free_name(f"{branch.layer.name}/bias")
                tensor = edit.put(_bias_add(edit, name, tensor, bias[part], branch, layout, ()))
        else:
            name, shape = f"{chain.steps[-1].node.name}/{branch.end.name}", (-1, *(1,) * (-layout.axis - 1))
            factors = _cast(scale[part], dtype.as_numpy_dtype).reshape(shape)
            tensor = edit.add(
                "Mul", f"{name}/scaled", [branch.tensor, edit.add_constant(f"{name}/scale", factors)], T=dtype
            )
            if bias is not None:
                shift = edit.add_constant(f"{name}/shift", bias[part].reshape(shape))
                tensor = edit.add("AddV2", f"{name}/shifted", [tensor, shift], T=dtype)
        yield tensor


def _bias_add(
    edit: Edit, name: str, tensor: str, bias: np.ndarray, branch: LayerBranch, layout: Layout, controls: Iterable[str]
) -> NodeDef:
    constant = _constant(edit, f"{branch.layer.name}/bias_folded", bias, branch)
    attributes = {"T": dtypes.as_dtype(bias.dtype), "data_format": layout.bias_format}
    return nd.make_node("BiasAdd", name, [tensor, constant, *controls], **attributes)


def _scaled_weights(graph: Graph, chain: FoldChain, scale: np.ndarray) -> Iterator[np.ndarray | None]:
    """The weights of each branch times its factors, in float32; None where they stay."""
    start = 0
    for branch in chain.target.branches:
        factors = scale[start : start + branch.channels]
        start += branch.channels
        if not isinstance(branch, LayerBranch) or (factors == 1).all():
            yield None
            continue
        weights = graph.require_constant(nd.data_inputs(branch.layer)[branch.weight_input])
        shape = [size if axis in branch.weight_axes else 1 for axis, size in enumerate(weights.shape)]
        with np.errstate(over="ignore"):
            yield weights * factors.astype(np.float32).reshape(shape)


def _is_close(cast: np.ndarray, exact: np.ndarray) -> bool:
    """Whether the rounding of weights is that of their type: below its normal numbers, it is far coarser."""
    largest = np.abs(exact).max(initial=0.0)
    return cast.dtype == exact.dtype or bool(
        np.abs(cast - exact).max(initial=0.0) <= largest * np.finfo(cast.dtype).eps
    )


def _cast(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    with np.errstate(over="ignore"):
        return values.astype(dtype, copy=False)


def _set_weights(edit: Edit, branch: LayerBranch, values: np.ndarray) -> None:
    name = branch.layer.name
    edit.set_input(name, branch.weight_input, _constant(edit, f"{name}/weights_folded", values, branch))


def _constant(edit: Edit, name: str, values: np.ndarray, branch: LayerBranch) -> str:
    """A constant in the loop frame of the layer: with the control inputs of the original weights."""
    node = nd.constant_node(edit.free_name(name), values)
    source = edit.graph.constant_source(nd.data_inputs(branch.layer)[branch.weight_input])
    if source is not None:
        node.input.extend(f"^{control}" for control in nd.control_inputs(edit.graph.nodes[source]))
    return edit.put(node)


def _bypass(edit: Edit, chain: FoldChain, ends: Sequence[str]) -> str:
    """Connect the nodes that stay in the graph, starting from the outputs of the branches; the last one's output."""
    tensor = ends[0]
    if chain.target.end.op in ("Concat", "ConcatV2"):
        first = 1 if chain.target.end.op == "Concat" else 0
        for index, end in enumerate(ends):
            edit.set_input(chain.target.end.name, first + index, end)
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
            if not isinstance(branch, LayerBranch):
                continue
            inner = [branch.end.name] if number == 0 and branch.end is not branch.layer else []
            yield Fusion(f"{group.kind} {chain.remark}".rstrip(), branch.layer.name, (*inner, *absorbed))


def absorbed_nodes(steps: Iterable[ChannelOp]) -> frozenset[str]:
    """Names of the nodes that a fusion replaces."""
    return frozenset(step.node.name for step in steps if step.role != STAYS)

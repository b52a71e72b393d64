"""The weights and biases of layers that take in the norm before them."""

from __future__ import annotations

import numpy as np

from calibrant.fold.norm_before_layer import NormBeforeLayer
from calibrant.fold.result import Fusion, NotFused
from calibrant.fold.target import dtype_of
from calibrant.graph import nodes as nd
from calibrant.graph.channel_order import is_channels_first
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.layers import constant_bias
from calibrant.graph.tf_core import NodeDef
from calibrant.layer_kinds import KINDS


def fold_into_layers(
    edit: Edit, norm: NormBeforeLayer, moved: dict[str, str]
) -> tuple[tuple[Fusion, ...], NotFused | None]:
    """Connect the layers to the source of the norm; the fusions, or why the new numbers do not fit.

    A layer that is an output of the graph may get a bias; ``moved`` then maps the output to its new tensor.
    """
    graph = edit.graph
    changed = [(layer, *_changed(graph, layer, norm)) for layer in norm.layers]
    last = norm.steps[-1].node
    for layer, weights, addend in changed:
        if not (np.isfinite(weights).all() and np.isfinite(addend).all()):
            return (), NotFused(last.name, f"the folded numbers do not fit {dtype_of(layer).name}")
    for layer, weights, addend in changed:
        index = KINDS[layer.op].weights.input_index
        edit.set_input(layer.name, index, edit.add_constant(f"{layer.name}/weights_folded", weights))
        if addend.any():
            _add(edit, layer, addend, moved)
    for reader, index in graph.consumers(f"{last.name}:0"):
        edit.set_input(reader.name, index, norm.source)
    absorbed = tuple(step.node.name for step in norm.steps)
    return tuple(Fusion("batch norm in front", layer.name, absorbed, before_layer=True) for layer in norm.layers), None


def _changed(graph: Graph, layer: NodeDef, norm: NormBeforeLayer) -> tuple[np.ndarray, np.ndarray]:
    """New weights, and the addend of each output channel; both in the layer's type."""
    kind = KINDS[layer.op]
    index, axis = kind.weights.input_index, kind.weights.reduced_axis
    weights = graph.require_constant(nd.data_inputs(layer)[index])
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


def _by_row(graph: Graph, layer: NodeDef, norm: NormBeforeLayer, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift by input channel of the weights and group, [rows, groups]; by input of a dense layer."""
    values = np.stack([norm.scale, norm.shift])
    if layer.op == "MatMul" and rows != norm.layout.channels:
        shape = [size or 1 for size in (graph.shape(f"{norm.steps[-1].node.name}:0") or ())[1:]]  # all known: flattened
        spread = values.reshape(2, *[-1 if axis == norm.layout.axis else 1 for axis in range(-len(shape), 0)])
        values = np.broadcast_to(spread, (2, *shape)).reshape(2, rows)
    grouped = values.reshape(2, -1, rows)
    return grouped[0].T, grouped[1].T


def _add(edit: Edit, layer: NodeDef, addend: np.ndarray, moved: dict[str, str]) -> None:
    """Add to a layer's bias; give it one if it has none."""
    graph = edit.graph
    name = constant_bias(graph, layer)
    if name is not None:
        bias = graph.constant(nd.data_inputs(graph.nodes[name])[1])
        edit.set_input(name, 1, edit.add_constant(f"{layer.name}/bias_folded", bias + addend))
        return
    values = edit.add_constant(f"{layer.name}/bias_folded", addend)
    attributes = {"T": dtype_of(layer), "data_format": "NCHW" if is_channels_first(layer) else "NHWC"}
    added = edit.add("BiasAdd", f"{layer.name}/bias", [f"{layer.name}:0", values], **attributes)
    moved[f"{layer.name}:0"] = added
    for node, index in graph.consumers(f"{layer.name}:0"):
        edit.set_input(node.name, index, added)
